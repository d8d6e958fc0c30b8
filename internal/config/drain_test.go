package config

import "testing"

func TestDrainIsPartOfTheShutdown(t *testing.T) {
	t.Parallel()
	for seconds, ok := range map[string]bool{"0": true, "29": true, "30": false, "-1": false} {
		_, err := loadText(t, minimal+"[server]\ndrain_secs = "+seconds+"\n")
		if (err == nil) != ok {
			t.Errorf("drain_secs = %s: %v", seconds, err)
		}
	}
}
