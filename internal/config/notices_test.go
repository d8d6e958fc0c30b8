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
	got := strings.Join(c.Notices(), "\n")
	for _, want := range []string{"nats.enabled", "otel.enabled", "metrics.enabled"} {
		if !strings.Contains(got, want) {
			t.Errorf("no notice of %s in:\n%s", want, got)
		}
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
