package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// The figure: for each work how many times as fast as MinIO EFS and nginx are,
// on a logarithmic scale, as bars that begin at MinIO.
const (
	figWidth  = 860
	figLeft   = 196 // of the plot
	figRight  = 700
	figTop    = 96
	figRow    = 58
	figBar    = 18
	figBottom = 34
)

const figStyle = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f; }
  .card { fill: #ffffff; }
  .title { font-size: 17px; font-weight: 600; }
  .soft { fill: #6a737d; font-size: 12px; }
  .value { font-weight: 600; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .one { stroke: #57606a; stroke-width: 1.5; }
  .range { stroke: #24292f; stroke-opacity: .55; stroke-width: 1.5; }
  .efs { fill: #0f766e; }
  .nginx { fill: #b6bec8; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; }
    text { fill: #e6edf3; }
    .soft { fill: #9198a1; }
    .grid { stroke: #30363d; }
    .one { stroke: #9198a1; }
    .range { stroke: #e6edf3; }
    .efs { fill: #2dd4bf; }
    .nginx { fill: #57606a; }
  }
`

// bar is one target's in a row of the figure.
type bar struct {
	class string
	x     spread // times MinIO
	rate  string
}

// svg draws the report, or returns "" if EFS and MinIO were not both measured.
func (r *Report) svg() string {
	type line struct {
		title string
		bars  []bar
	}
	var lines []line
	low, high := 0.8, 1.25
	for _, w := range works {
		l := line{title: titles[w.Name]}
		for _, t := range []string{"efs", "nginx"} {
			x, ok := r.ratio(w.Name, t, "minio")
			if !ok {
				continue
			}
			rate, _ := r.rate(w.Name, t)
			text, _, _ := strings.Cut(rateText(w, rate), " (")
			l.bars = append(l.bars, bar{t, x, text})
			low, high = min(low, x.min), max(high, x.max)
		}
		if len(l.bars) > 0 {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		return ""
	}
	low, high = low*0.9, high*1.1
	x := func(ratio float64) float64 {
		return figLeft + (figRight-figLeft)*math.Log(ratio/low)/math.Log(high/low)
	}
	height := figTop + figRow*len(lines) + figBottom
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="t d">
<title id="t">EFS and nginx as multiples of MinIO</title>
<desc id="d">%s</desc>
<style>%s</style>
<rect class="card" width="100%%" height="100%%" rx="6"/>
`, figWidth, height, figWidth, height, escape(r.caption()), figStyle)
	s.WriteString(`<text class="title" x="20" y="30">Times as fast as MinIO with server-side encryption</text>` + "\n")
	fmt.Fprintf(&s, `<text class="soft" x="20" y="50">TLS 1.3, %d cores shared with the clients; medians of interleaved rounds, thin lines: least to greatest</text>`+"\n", r.Machine.Cores)
	s.WriteString(`<rect class="efs" x="20" y="64" width="12" height="12" rx="2"/><text x="38" y="75">EFS: encrypted, synced, three factors on each request</text>` + "\n")
	s.WriteString(`<rect class="nginx" x="420" y="64" width="12" height="12" rx="2"/><text x="438" y="75">nginx WebDAV: neither encrypted at rest nor synced</text>` + "\n")

	bottom := figTop + figRow*len(lines)
	for _, tick := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100} {
		if tick < low || tick > high {
			continue
		}
		class := "grid"
		label := fmt.Sprintf("%g×", tick)
		if tick == 1 {
			class, label = "one", "MinIO"
		}
		fmt.Fprintf(&s, `<line class="%s" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text class="soft" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			class, x(tick), figTop, x(tick), bottom, x(tick), bottom+18, label)
	}
	for i, l := range lines {
		top := figTop + figRow*i + (figRow-figBar*len(l.bars)-2*(len(l.bars)-1))/2
		title, clients, _ := strings.Cut(l.title, ", ")
		middle := figTop + figRow*i + figRow/2
		fmt.Fprintf(&s, `<text x="20" y="%d">%s</text><text class="soft" x="20" y="%d">%s</text>`+"\n", middle-2, escape(title), middle+14, escape(clients))
		for k, b := range l.bars {
			y := top + k*(figBar+2)
			from, to := x(min(1, b.x.mid)), x(max(1, b.x.mid))
			fmt.Fprintf(&s, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"/>`, b.class, from, y, max(1.5, to-from), figBar)
			fmt.Fprintf(&s, `<line class="range" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, x(b.x.min), y+figBar/2, x(b.x.max), y+figBar/2)
			fmt.Fprintf(&s, `<text x="%.1f" y="%d"><tspan class="value">%s</tspan> <tspan class="soft">%s</tspan></text>`+"\n",
				max(to, x(b.x.max))+7, y+figBar-5, times(b.x.mid), escape(b.rate))
		}
	}
	s.WriteString("</svg>\n")
	return s.String()
}

// times writes a multiple with two digits that matter.
func times(x float64) string {
	if x >= 10 {
		return fmt.Sprintf("%.0f×", x)
	}
	if x >= 1.995 {
		return fmt.Sprintf("%.1f×", x)
	}
	return fmt.Sprintf("%.2f×", x)
}

// caption says in words what the figure shows.
func (r *Report) caption() string {
	var parts []string
	for _, w := range works {
		if x, ok := r.ratio(w.Name, "efs", "minio"); ok {
			parts = append(parts, titles[w.Name]+": "+times(x.mid))
		}
	}
	return "EFS as multiples of MinIO. " + strings.Join(parts, "; ") + "."
}

func escape(text string) string {
	var s strings.Builder
	xml.EscapeText(&s, []byte(text)) // a Builder takes everything
	return s.String()
}
