package config

// Notices names the settings that are switched on and have no effect in this
// version. They are accepted because configurations written for the original
// server have them.
func (c *Config) Notices() (notices []string) {
	for _, setting := range []struct {
		on   bool
		text string
	}{
		{c.NATS.Enabled, "nats.enabled has no effect in this version: servers meet in the database"},
	} {
		if setting.on {
			notices = append(notices, setting.text)
		}
	}
	return notices
}
