package output

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// A Column of a table.
type Column struct {
	Title string
	// Long texts may be shortened when the terminal is too narrow.
	Long bool
	// Status is coloured by what it says.
	Status bool
	// Right aligns numbers.
	Right bool
}

// minLong is the width to which a long column is shortened at most.
const minLong = 12

// gap is between columns.
const gap = 2

// Table writes rows under titles. Columns that are empty in every row are left
// out, but for the first.
func (p *Printer) Table(columns []Column, rows [][]string) {
	columns, rows = cleaned(columns, rows)
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = ansi.StringWidth(c.Title)
		for _, row := range rows {
			widths[i] = max(widths[i], ansi.StringWidth(row[i]))
		}
	}
	if p.Width > 0 && !shrink(columns, widths, p.Width) {
		p.records(columns, rows)
		return
	}
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.Title
	}
	p.row(columns, widths, titles, true)
	for _, row := range rows {
		p.row(columns, widths, row, false)
	}
}

// cleaned takes away empty columns, and what could disturb.
func cleaned(columns []Column, rows [][]string) (kept []Column, cells [][]string) {
	cells = make([][]string, len(rows))
	for i, c := range columns {
		filled := i == 0
		for _, row := range rows {
			filled = filled || row[i] != ""
		}
		if !filled && len(rows) > 0 {
			continue
		}
		kept = append(kept, c)
		for j, row := range rows {
			cells[j] = append(cells[j], Clean(row[i]))
		}
	}
	return kept, cells
}

// shrink shortens the long columns until the table fits, and reports whether it
// does.
func shrink(columns []Column, widths []int, width int) bool {
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for total > width {
		widest := -1
		for i, c := range columns {
			if c.Long && widths[i] > minLong && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return false
		}
		widths[widest]--
		total--
	}
	return true
}

func (p *Printer) row(columns []Column, widths []int, cells []string, title bool) {
	var b strings.Builder
	for i, c := range columns {
		cell := ansi.Truncate(cells[i], widths[i], "…")
		space := strings.Repeat(" ", widths[i]-ansi.StringWidth(cell))
		if i == len(columns)-1 && !c.Right {
			space = "" // nothing stands behind it
		}
		switch {
		case title:
			cell = p.Dim(cell)
		case c.Status:
			cell = p.Status(cell)
		}
		if c.Right {
			cell, space = space+cell, ""
		}
		b.WriteString(cell + space)
		if i < len(columns)-1 {
			b.WriteString(strings.Repeat(" ", gap))
		}
	}
	fmt.Fprintln(p.W, strings.TrimRight(b.String(), " "))
}

// records writes each row as a few lines, for terminals on which no table fits.
func (p *Printer) records(columns []Column, rows [][]string) {
	for i, row := range rows {
		if i > 0 {
			fmt.Fprintln(p.W)
		}
		fmt.Fprintln(p.W, row[0])
		fields := make([]Field, 0, len(columns))
		for j, c := range columns[1:] {
			fields = append(fields, Field{Name: strings.ToLower(c.Title), Value: row[j+1], Status: c.Status})
		}
		p.fields("  ", fields)
	}
}

// A Field is a line of what is shown of one thing.
type Field struct {
	Name, Value string
	Status      bool
}

// Fields writes one thing, line by line. Fields without a value are left out.
func (p *Printer) Fields(fields ...Field) { p.fields("", fields) }

func (p *Printer) fields(indent string, fields []Field) {
	width := 0
	for _, f := range fields {
		if f.Value != "" {
			width = max(width, ansi.StringWidth(f.Name))
		}
	}
	for _, f := range fields {
		if f.Value == "" {
			continue
		}
		value := Clean(f.Value)
		name := indent + f.Name + strings.Repeat(" ", width-ansi.StringWidth(f.Name))
		room := p.Width - len(indent) - width - gap
		switch {
		case f.Status:
			value = p.Status(value)
		case p.Width > 0 && ansi.StringWidth(value) > room:
			// Where it does not fit beside its name it goes below, whole.
			fmt.Fprintln(p.W, p.Dim(strings.TrimRight(name, " ")))
			fmt.Fprintln(p.W, ansi.Hardwrap(value, max(p.Width, 1), true))
			continue
		}
		fmt.Fprintln(p.W, p.Dim(name)+strings.Repeat(" ", gap)+value)
	}
}

// The colours of a terminal, which its user has chosen.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	dim    = "2"
	bold   = "1"
)

// statusColors are those of statuses and outcomes.
var statusColors = map[string]string{
	"RUNNING": yellow, "DEGRADED": yellow, "running": yellow, "warning": yellow,
	"COMPLETED": green, "ONLINE": green, "AVAILABLE": green, "RESOLVED": green, "allowed": green, "completed": green, "ok": green, "active": green,
	"FAILED": red, "OFFLINE": red, "UNAVAILABLE": red, "REJECTED": red, "TIMED_OUT": red, "TIMEOUT": red, "ERROR": red, "denied": red,
	"failed": red, "revoked": red, "expired": red, "WAITING": cyan, "WARN": yellow,
	"CANCELLED": dim, "PENDING": dim, "DEBUG": dim, "skipped": dim, "paused": dim,
}

// Status colours a status.
func (p *Printer) Status(s string) string { return p.PaintAs(s, s) }

// PaintAs colours a text as a status is.
func (p *Printer) PaintAs(status, s string) string { return p.paint(statusColors[status], s) }

// Dim makes a text less loud.
func (p *Printer) Dim(s string) string { return p.paint(dim, s) }

// Bold makes a text louder.
func (p *Printer) Bold(s string) string { return p.paint(bold, s) }

func (p *Printer) paint(color, s string) string {
	if !p.Color || color == "" || s == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

// Fit makes a text safe, and shortens it to a line on which indent columns are
// taken.
func (p *Printer) Fit(s string, indent int) string {
	s = Clean(s)
	if p.Width == 0 {
		return s
	}
	return ansi.Truncate(s, max(p.Width-indent, minLong), "…")
}
