package bench

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
)

// Compare measures the main cases with two servers, in alternation, and says
// how much faster or slower the second is, and whether that is more than noise.
func Compare(ctx context.Context, config Config, base string) (*Report, error) {
	machine, err := NewMachine(ctx)
	if err != nil {
		return nil, err
	}
	defer machine.Close()
	report := newReport()
	for range config.Repeats {
		for _, version := range []struct{ name, binary string }{{"base", base}, {"head", config.Server}} {
			s := &suite{Config: config, machine: machine, report: report}
			s.Server = version.binary
			err := s.on(ctx, 1, 50, func(st *stage) error {
				for _, inFlight := range []int{1, 50} {
					n := s.scaled(map[int]int{1: 300, 50: 3000}[inFlight])
					if _, err := st.runs(ctx, kindTask, max(1, n/5), inFlight); err != nil {
						return err
					}
					m, err := st.runs(ctx, kindTask, n, inFlight)
					if err != nil {
						return err
					}
					report.add(fmt.Sprintf("%s: 1 task, %d in flight", version.name, inFlight), m)
					s.progress("%s, %d in flight: %.1f/s", version.name, inFlight, m.PerSecond())
				}
				return nil
			})
			if err != nil {
				return report, err
			}
		}
	}
	return report, nil
}

// WriteComparison writes what Compare found.
func (r *Report) WriteComparison(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "case\tbase per second\thead per second\tratio\tspread\tverdict")
	for _, inFlight := range []int{1, 50} {
		name := fmt.Sprintf("1 task, %d in flight", inFlight)
		base, head := r.Case("base: "+name), r.Case("head: "+name)
		if base == nil || head == nil {
			continue
		}
		ratio := Median(head.PerSecond) / Median(base.PerSecond)
		spread := max(Spread(base.PerSecond), Spread(head.PerSecond))
		verdict := "within the noise"
		if ratio > 1+spread {
			verdict = "faster"
		} else if ratio < 1-spread {
			verdict = "slower"
		}
		_, _ = fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.3f\t%.0f %%\t%s\n", name, Median(base.PerSecond), Median(head.PerSecond),
			ratio, 100*spread, verdict)
	}
	return table.Flush()
}
