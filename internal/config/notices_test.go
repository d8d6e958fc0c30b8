package config

import (
	"strings"
	"testing"
)

func TestNotices(t *testing.T) {
	t.Parallel()
	if got := Default().Notices(); len(got) != 0 {
		t.Errorf("notices of the defaults: %v", got)
	}
	c := Default()
	c.NATS.Enabled, c.OTel.Enabled, c.Metrics.Enabled = true, true, true
	if got := c.Notices(); len(got) != 1 || !strings.Contains(got[0], "nats.enabled") {
		t.Errorf("notices: %q", got)
	}
}

func TestDrainIsPartOfTheShutdown(t *testing.T) {
	t.Parallel()
	for seconds, ok := range map[string]bool{"0": true, "29": true, "30": false, "-1": false} {
		_, err := loadText(t, minimal+"[server]\ndrain_secs = "+seconds+"\n")
		if (err == nil) != ok {
			t.Errorf("drain_secs = %s: %v", seconds, err)
		}
	}
}
