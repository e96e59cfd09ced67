package main

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"
)

// idleLimit is the longest pause between two lines of the SVG.
const idleLimit = 1500 * time.Millisecond

// Sizes in pixels.
const (
	fontSize   = 13
	lineHeight = 18
	// lineWidth is for columns characters of a common monospaced font, 0.6 of their size.
	lineWidth = columns * fontSize * 6 / 10
	margin    = 16
)

// svg shows each line when its time has come. A reader that plays no animation shows all of them, and so does one who has asked
// for less motion.
func (c cast) svg() string {
	var b strings.Builder
	width, height := lineWidth+2*margin, len(c.events)*lineHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`+"\n", width, height)
	fmt.Fprintf(&b, "<title>%s, recorded %s</title>\n", escaped(c.header.Title), time.Unix(c.header.Timestamp, 0).UTC().Format(time.DateOnly))
	fmt.Fprintf(&b, `<style>
text { font: %dpx ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d8dee9; white-space: pre; animation: show 1ms both }
.typed { fill: #8fbc8f }
@keyframes show { from { opacity: 0 } }
@media (prefers-reduced-motion: reduce) { text { animation: none } }
</style>
<rect width="100%%" height="100%%" rx="8" fill="#20242c"/>
`, fontSize)
	shown, before := time.Duration(0), time.Duration(0)
	for i, e := range c.events {
		shown += min(e.at-before, idleLimit)
		before = e.at
		class := ""
		if strings.HasPrefix(e.line, "$ ") {
			class = ` class="typed"`
		}
		fmt.Fprintf(&b, `<text xml:space="preserve"%s x="%d" y="%d" style="animation-delay:%dms">%s</text>`+"\n",
			class, margin, margin+(i+1)*lineHeight-5, shown.Milliseconds(), escaped(e.line))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a builder takes everything
	return b.String()
}
