package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is what a run found.
type Report struct {
	// Machine says where: cores and operating system.
	Machine string `json:"machine"`
	// Cases in the order in which they were measured.
	Cases []*Case `json:"cases"`
}

// Case is one thing that was measured, several times.
type Case struct {
	Name string `json:"name"`
	// PerSecond holds the rate of each repeat; empty for a count.
	PerSecond []float64 `json:"perSecond,omitempty"`
	// P50, P90 and P99 hold the latencies of each repeat, in milliseconds.
	P50 []float64 `json:"p50Ms,omitempty"`
	P90 []float64 `json:"p90Ms,omitempty"`
	P99 []float64 `json:"p99Ms,omitempty"`
	// Counts holds a count, each time it was made.
	Counts []float64 `json:"counts,omitempty"`
}

func newReport() *Report {
	return &Report{Machine: fmt.Sprintf("%d cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)}
}

// Case returns the case of a name, or nil.
func (r *Report) Case(name string) *Case {
	for _, c := range r.Cases {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (r *Report) of(name string) *Case {
	if c := r.Case(name); c != nil {
		return c
	}
	c := &Case{Name: name}
	r.Cases = append(r.Cases, c)
	return c
}

func (r *Report) add(name string, m Measured) {
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	c := r.of(name)
	c.PerSecond = append(c.PerSecond, m.PerSecond())
	c.P50 = append(c.P50, ms(m.Latencies.Quantile(0.5)))
	c.P90 = append(c.P90, ms(m.Latencies.Quantile(0.9)))
	c.P99 = append(c.P99, ms(m.Latencies.Quantile(0.99)))
}

func (r *Report) count(name string, value float64) {
	c := r.of(name)
	c.Counts = append(c.Counts, value)
}

// Median returns the middle of some values, 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Spread returns the distance between the smallest and the largest value, as a
// part of the median.
func Spread(values []float64) float64 {
	if len(values) == 0 || Median(values) == 0 {
		return 0
	}
	return (slices.Max(values) - slices.Min(values)) / Median(values)
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteText writes the report for people: every case, and then what the product
// must show.
func (r *Report) WriteText(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "%s\n\ncase\tper second\tp50 ms\tp90 ms\tp99 ms\tspread\n", r.Machine)
	for _, c := range r.Cases {
		if len(c.Counts) > 0 {
			_, _ = fmt.Fprintf(table, "%s\t%.2f\t\t\t\t%.0f %%\n", c.Name, Median(c.Counts), 100*Spread(c.Counts))
			continue
		}
		_, _ = fmt.Fprintf(table, "%s\t%.1f\t%.2f\t%.2f\t%.2f\t%.0f %%\n", c.Name, Median(c.PerSecond),
			Median(c.P50), Median(c.P90), Median(c.P99), 100*Spread(c.PerSecond))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(w)
	return r.writeGoals(w)
}

// goal is what the product must show.
type goal struct {
	name      string
	value     func(r *Report) (float64, bool)
	must, aim float64
	// more says that more is better.
	more bool
}

func rate(name string) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) { return r.median(name, func(c *Case) []float64 { return c.PerSecond }) }
}

func p50(name string) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) { return r.median(name, func(c *Case) []float64 { return c.P50 }) }
}

func p99(name string) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) { return r.median(name, func(c *Case) []float64 { return c.P99 }) }
}

func counted(name string) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) { return r.median(name, func(c *Case) []float64 { return c.Counts }) }
}

func (r *Report) median(name string, values func(*Case) []float64) (float64, bool) {
	c := r.Case(name)
	if c == nil {
		return 0, false
	}
	return Median(values(c)), true
}

// over divides one value by another.
func over(a, b func(*Report) (float64, bool)) func(*Report) (float64, bool) {
	return func(r *Report) (float64, bool) {
		x, ok := a(r)
		y, ok2 := b(r)
		return x / y, ok && ok2 && y != 0
	}
}

// goals is the table of what must be shown.
func goals() []goal {
	const one, fifty = "workflow task, 1 in flight", "workflow task, 50 in flight"
	grown := func(name string) func(*Report) (float64, bool) {
		return over(rate("growth, empty database, 50 in flight"), rate("growth, "+name+", 50 in flight"))
	}
	return []goal{
		{"1 task, 1 in flight, p50 ms", p50(one), 5, 3, false},
		{"1 task, 50 in flight, per second", rate(fifty), 600, 1000, true},
		{"1 task, 50 in flight, p99 ms", p99(fifty), 150, 80, false},
		{"1 task, 200 in flight against 50", over(rate("workflow task, 200 in flight"), rate(fifty)), 1, 1, true},
		{"standalone tasks, 50 in flight, per second", rate("standalone tasks, 50 in flight"), 2000, 4000, true},
		{"starts alone, 64 clients, per second", rate("starts alone, 64 clients"), 4000, 8000, true},
		{"row writes per 1-task workflow", counted("per 1-task workflow, 1 in flight: row writes"), 10, 10, false},
		{"WAL KB per 1-task workflow", counted("per 1-task workflow, 1 in flight: WAL KB"), 6, 6, false},
		{"server CPU ms per 1-task workflow", counted("per 1-task workflow, 50 in flight: server CPU ms"), 1, 1, false},
		{"idle worker, schedule to start, p50 ms", p50("idle worker, task schedule to start"), 2, 1, false},
		{"10,000 idle pollers, % of a core", counted("10000 idle pollers: % of a core"), 5, 5, false},
		{"10,000 idle pollers, KB each", counted("10000 idle pollers: KB each"), 40, 40, false},
		{"10,000 idle pollers, statements per second", counted("10000 idle pollers: statements per second"), 0, 0, false},
		{"growth: finished workflows, times slower", grown("finished workflows"), 1.25, 1.1, false},
		{"growth: pending on another queue, times slower", grown("pending tasks on another queue"), 1.25, 1.1, false},
		{"growth: pending of another org, times slower", grown("pending tasks of another org"), 1.25, 1.1, false},
		{"two servers against one, times slower", over(rate("1 task, 50 in flight, 1 server(s)"), rate("1 task, 50 in flight, 2 server(s)")), 1, 1, false},
		{"start to ready with migration, s", counted("start to ready with migration, s"), 0.5, 0.5, false},
		{"idle server, MB", counted("idle server, MB"), 60, 60, false},
	}
}

func (r *Report) writeGoals(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "goal\tmeasured\tmust\taim\t")
	for _, g := range goals() {
		value, ok := g.value(r)
		if !ok {
			continue
		}
		verdict := "missed"
		switch {
		case g.meets(value, g.aim):
			verdict = "aim reached"
		case g.meets(value, g.must):
			verdict = "reached"
		}
		_, _ = fmt.Fprintf(table, "%s\t%.2f\t%g\t%g\t%s\n", g.name, value, g.must, g.aim, verdict)
	}
	return table.Flush()
}

func (g goal) meets(value, bound float64) bool {
	if g.more {
		return value >= bound
	}
	return value <= bound
}
