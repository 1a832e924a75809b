package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	// The format that charts are drawn in.
	_ "gonum.org/v1/plot/vg/vgsvg"

	"bfsd/bench/internal/measure"
)

// palette tells series apart, also for those who see colours otherwise (Okabe and Ito's).
var palette = []color.RGBA{
	{0x00, 0x72, 0xB2, 0xFF},
	{0xE6, 0x9F, 0x00, 0xFF},
	{0x00, 0x9E, 0x73, 0xFF},
	{0xCC, 0x79, 0xA7, 0xFF},
	{0x56, 0xB4, 0xE9, 0xFF},
	{0xD5, 0x5E, 0x00, 0xFF},
	{0x99, 0x99, 0x99, 0xFF},
	{0xF0, 0xE4, 0x42, 0xFF},
}

const (
	chartWidth  = 24 * vg.Centimeter
	chartHeight = 9 * vg.Centimeter
	groupShare  = 0.8 // of the room between two groups, for bars
	groupsLevel = 7   // so many names stand beside each other
)

// series is a row of values with a name. A nil value is a gap.
type series struct {
	name   string
	values []*measure.Statistic
}

// barChart compares series in groups. It is drawn with the range of each value; line, if not 0, marks a level.
type barChart struct {
	title, unit string
	groups      []string
	series      []series
	line        float64
}

// svg draws the chart.
func (c barChart) svg() ([]byte, error) {
	if len(c.groups) == 0 || len(c.series) == 0 {
		return nil, errNothing
	}
	p := newPlot(c.title, c.unit)
	p.NominalX(c.groups...)
	width := (chartWidth - 3*vg.Centimeter) / vg.Length(max(len(c.groups), 1)) * groupShare / vg.Length(max(len(c.series), 1))
	top := c.line
	for i, s := range c.series {
		offset := width * (vg.Length(i) - vg.Length(len(c.series)-1)/2)
		if err := c.addBars(p, s, i, width, offset); err != nil {
			return nil, err
		}
		for _, v := range s.values {
			if v != nil {
				top = math.Max(top, v.Max)
			}
		}
	}
	if c.line != 0 {
		level, err := plotter.NewLine(plotter.XYs{{X: -0.5, Y: c.line}, {X: float64(len(c.groups)) - 0.5, Y: c.line}})
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", c.title, err)
		}
		level.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		p.Add(level)
	}
	p.X.Min, p.X.Max = -0.5, float64(len(c.groups))-0.5
	if len(c.groups) > groupsLevel {
		p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = math.Pi/9, text.XRight, text.YTop
	}
	if len(c.series) == 1 {
		p.Legend = plot.NewLegend() // the title says it
	}
	scaleY(p, top, len(c.series))
	return render(p)
}

// addBars adds a series; what has no value has no bar.
func (c barChart) addBars(p *plot.Plot, s series, i int, width, offset vg.Length) error {
	if len(s.values) != len(c.groups) {
		return fmt.Errorf("draw %s: %s has %d values for %d groups", c.title, s.name, len(s.values), len(c.groups))
	}
	heights := make(plotter.Values, len(s.values))
	var ranges rangeBars
	for g, v := range s.values {
		if v == nil {
			continue
		}
		if bad(v.Median) || bad(v.Min) || bad(v.Max) {
			return fmt.Errorf("draw %s: %s of %s is no number", c.title, s.name, c.groups[g])
		}
		heights[g] = v.Median
		ranges.add(float64(g), v)
	}
	bars, err := plotter.NewBarChart(heights, width)
	if err != nil {
		return fmt.Errorf("draw %s: %w", c.title, err)
	}
	bars.Color, bars.LineStyle.Width, bars.Offset = palette[i%len(palette)], 0, offset
	p.Add(bars)
	p.Legend.Add(s.name, bars)
	if len(ranges.XYs) == 0 {
		return nil
	}
	errorBars, err := plotter.NewYErrorBars(ranges)
	if err != nil {
		return fmt.Errorf("draw %s: %w", c.title, err)
	}
	errorBars.CapWidth = min(width/2, vg.Points(6))
	p.Add(shifted{errorBars, offset})
	return nil
}

// bad says whether a value cannot be drawn. The drawer takes very long over very large ones.
func bad(v float64) bool { return math.IsNaN(v) || math.Abs(v) > drawnMax }

// drawnMax is far above what a benchmark measures.
const drawnMax = 1e12

// rangeBars are the ranges of values, for plotter.
type rangeBars struct {
	plotter.XYs
	plotter.YErrors
}

func (r *rangeBars) add(x float64, v *measure.Statistic) {
	r.XYs = append(r.XYs, plotter.XY{X: x, Y: v.Median})
	r.YErrors = append(r.YErrors, struct{ Low, High float64 }{v.Median - v.Min, v.Max - v.Median})
}

// shifted draws something to the right of where it belongs, as bars have an offset.
type shifted struct {
	plot.Plotter
	offset vg.Length
}

// Plot implements plot.Plotter.
func (s shifted) Plot(c draw.Canvas, p *plot.Plot) {
	c.Min.X += s.offset
	c.Max.X += s.offset
	s.Plotter.Plot(c, p)
}

// lineChart is for values over a quantity, which is drawn on a logarithmic scale.
type lineChart struct {
	title, unit, over string
	lines             []line
}

type line struct {
	name string
	xs   []float64
	ys   []*measure.Statistic
}

// svg draws the chart.
func (c lineChart) svg() ([]byte, error) {
	p := newPlot(c.title, c.unit)
	p.X.Label.Text = c.over
	top := 0.0
	for i, l := range c.lines {
		var points plotter.XYs
		for k, x := range l.xs {
			if v := l.ys[k]; v != nil && x > 0 && !bad(x) && !bad(v.Median) {
				points = append(points, plotter.XY{X: x, Y: v.Median})
				top = math.Max(top, v.Median)
			}
		}
		if len(points) == 0 {
			continue
		}
		drawn, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", c.title, err)
		}
		drawn.Color, drawn.Width = palette[i%len(palette)], vg.Points(1.5)
		marks.Color, marks.Shape = palette[i%len(palette)], draw.CircleGlyph{}
		p.Add(drawn, marks)
		p.Legend.Add(l.name, drawn, marks)
	}
	if top == 0 {
		return nil, errNothing
	}
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	if p.X.Min == p.X.Max {
		// The plotter would go one up and one down, and from 1 down to 0 is too far on this scale.
		p.X.Min, p.X.Max = p.X.Min/2, p.X.Max*2
	}
	scaleY(p, top, len(c.lines))
	return render(p)
}

// errNothing says that there is nothing to draw.
var errNothing = errors.New("there are no values")

func newPlot(title, unit string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Y.Label.Text = title, unit
	p.Title.Padding = vg.Points(5)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs, p.Legend.Padding = vg.Points(6), -vg.Points(4), vg.Points(2)
	for style, size := range map[*text.Style]vg.Length{
		&p.Title.TextStyle: 11, &p.X.Label.TextStyle: 10, &p.Y.Label.TextStyle: 10, &p.X.Tick.Label: 9, &p.Y.Tick.Label: 9, &p.Legend.TextStyle: 9,
	} {
		style.Font.Variant, style.Font.Size = "Sans", size
	}
	p.Add(plotter.NewGrid())
	return p
}

// scaleY makes the vertical axis begin at 0 and leaves room for a legend of so many rows.
func scaleY(p *plot.Plot, top float64, rows int) {
	if top == 0 {
		top = 1
	}
	p.Y.Min, p.Y.Max = 0, top*(1.05+legendRow*float64(rows))
	p.Y.Tick.Marker = plot.TickerFunc(func(_, highest float64) []plot.Tick { return ticks(highest) })
}

// legendRow is the share of the height that a row of the legend takes.
const legendRow = 0.07

// ticks are some five round values from 0 on.
func ticks(highest float64) (list []plot.Tick) {
	if bad(highest) || highest <= 0 {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10(highest/5)))
	for _, factor := range []float64{1, 2, 2.5, 5, 10} {
		if highest/(step*factor) <= 6 {
			step *= factor
			break
		}
	}
	for i := 0; float64(i)*step <= highest; i++ {
		v := float64(i) * step
		list = append(list, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'g', 4, 64)})
	}
	return list
}

func render(p *plot.Plot) ([]byte, error) {
	w, err := p.WriterTo(chartWidth, chartHeight, "svg")
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", p.Title.Text, err)
	}
	var svg bytes.Buffer
	if _, err := w.WriteTo(&svg); err != nil {
		return nil, fmt.Errorf("draw %s: %w", p.Title.Text, err)
	}
	// Those who do not have the font that the text was measured with shall see one that is as wide.
	return bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")), nil
}
