package torture

import (
	"fmt"
	"strings"
	"time"
)

// The plot's measures, in pixels: a panel for each gauge, one below the other.
const (
	plotWidth   = 900
	panelHeight = 110
	plotMargin  = 60
)

var plotColors = []string{"#3b6ea8", "#b4572c", "#4b8b3b", "#7a4fa3", "#a33b5a"}

// plot draws the samples as an SVG image.
func plot(samples []sample) []byte {
	var b strings.Builder
	last := samples[len(samples)-1]
	height := len(gauges)*panelHeight + plotMargin + 30
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<text x="%d" y="22" font-size="15">A server under a bounded load: %s, %d ordeals</text>`+"\n",
		plotMargin, last.At.Round(time.Second), last.Done)
	for i, g := range gauges {
		g.draw(&b, samples, 40+i*panelHeight, plotColors[i%len(plotColors)])
	}
	for i := range 7 {
		at := last.At * time.Duration(i) / 6
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n",
			plotMargin+i*(plotWidth-2*plotMargin)/6, height-12, at.Round(time.Second))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// draw draws one panel, from zero to a little above the greatest value.
func (g gauge) draw(b *strings.Builder, samples []sample, top int, color string) {
	highest := 1
	for _, s := range samples {
		highest = max(highest, g.of(s))
	}
	scale := float64(highest) * 1.15
	width, height := float64(plotWidth-2*plotMargin), float64(panelHeight-30)
	bottom := float64(top + panelHeight - 20)
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">%s (highest %d)</text>`+"\n", plotMargin, top+6, color, g.name, highest)
	fmt.Fprintf(b, `<path d="M%d %.0fH%d" stroke="#bbb" fill="none"/>`+"\n", plotMargin, bottom, plotWidth-plotMargin)
	fmt.Fprintf(b, `<text x="%d" y="%.0f" text-anchor="end" fill="#666">0</text>`+"\n", plotMargin-6, bottom+4)
	var line strings.Builder
	end := max(samples[len(samples)-1].At.Seconds(), 1)
	for i, s := range samples {
		x := float64(plotMargin) + width*s.At.Seconds()/end
		y := bottom - height*float64(g.of(s))/scale
		step := "L"
		if i == 0 {
			step = "M"
		}
		fmt.Fprintf(&line, "%s%.1f %.1f", step, x, y)
	}
	fmt.Fprintf(b, `<path d="%s" stroke="%s" stroke-width="1.3" fill="none"/>`+"\n", line.String(), color)
}
