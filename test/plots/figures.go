package main

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// colors tell lines apart for the color-blind too (Okabe and Ito). Ours is blue and the textbook red in every plot.
var colors = map[string]color.Color{
	"ours":                    color.RGBA{0, 114, 178, 255},
	"textbook":                color.RGBA{213, 94, 0, 255},
	"textbook webhook":        color.RGBA{213, 94, 0, 255},
	"floor":                   color.RGBA{120, 120, 120, 255},
	"no webhook":              color.RGBA{0, 0, 0, 255},
	"MutatingAdmissionPolicy": color.RGBA{0, 158, 115, 255},
	"ours, with the gate":     color.RGBA{86, 180, 233, 255},
}

func init() { plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"} }

func newPlot(title string, t table) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text = title + "\n" + t.conditions
	p.Title.TextStyle.Font.Size = vg.Points(10)
	for _, style := range []*text.Style{&p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Font.Size = vg.Points(9)
	}
	// Texts to the right of their lines, since a reader's font may be wider.
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Millimeter
	p.Add(plotter.NewGrid())
	return p
}

func add(p *plot.Plot, l line, name string) error {
	drawn, err := plotter.NewLine(l.XYs)
	if err != nil {
		return err
	}
	drawn.Width = vg.Points(1.5)
	if c := colors[l.name]; c != nil {
		drawn.Color = c
	}
	p.Add(drawn)
	p.Legend.Add(name, drawn)
	return nil
}

// window is how much of a re-key is shown, in seconds before and after the new CA.
const before, after = -10, 90

// refusals draws how many creations were refused in each second around a new CA.
func refusals(t table) (*plot.Plot, error) {
	lines, err := t.lines("second", "refused")
	if err != nil {
		return nil, err
	}
	p := newPlot("Refused pod creations while the CA is replaced", t)
	p.X.Label.Text, p.Y.Label.Text = "seconds after the (first) new CA", "refused per second"
	names := map[string]string{"ours": "ours: 20 new CAs, one every 3 s", "textbook": "textbook: 1 new CA"}
	for i := len(lines) - 1; i >= 0; i-- { // ours above the textbook
		shown := line{name: lines[i].name}
		for _, xy := range lines[i].XYs {
			if xy.X >= before && xy.X <= after {
				shown.XYs = append(shown.XYs, xy)
			}
		}
		if err := add(p, shown, names[shown.name]); err != nil {
			return nil, err
		}
	}
	p.Legend.XOffs, p.X.Tick.Marker, p.Y.Tick.Marker = 11*vg.Centimeter, every(10), every(10)
	p.X.Min, p.X.Max, p.Y.Min = before, after, -1
	return p, nil
}

// distributions draws which share of the calls was answered within which time.
func distributions(title, x string) func(table) (*plot.Plot, error) {
	return func(t table) (*plot.Plot, error) {
		lines, err := t.lines("ms", "percentile")
		if err != nil {
			return nil, err
		}
		p := newPlot(title, t)
		p.X.Label.Text, p.Y.Label.Text = x, "% answered"
		p.X.Scale, p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks), every(10)
		for _, l := range lines {
			if err := add(p, l, l.name); err != nil {
				return nil, err
			}
		}
		p.Y.Min, p.Y.Max = 0, 100
		p.X.Min, p.X.Max = p.X.Min/4, p.X.Max*1.2 // room for the legend, and for the last number
		return p, nil
	}
}

// logTicks are 1, 2 and 5 of each power of ten; plot.LogTicks names only the powers.
func logTicks(low, high float64) (ticks []plot.Tick) {
	for power := math.Floor(math.Log10(low)); power <= math.Ceil(math.Log10(high)); power++ {
		for _, factor := range []float64{1, 2, 5} {
			if v := round(factor * math.Pow(10, power)); v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
			}
		}
	}
	return ticks
}

// round leaves out what floating point adds to a number of few digits.
func round(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// every is a tick for each multiple of step.
func every(step float64) plot.TickerFunc {
	return func(low, high float64) (ticks []plot.Tick) {
		for v := math.Ceil(low/step) * step; v <= high; v += step {
			ticks = append(ticks, plot.Tick{Value: v, Label: strconv.Itoa(int(v))})
		}
		return ticks
	}
}
