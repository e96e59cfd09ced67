package app

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// flagGroups are the flags of a command under headings, in the order in which they were
// added.
type flagGroups struct {
	titles []string
	sets   map[string]*pflag.FlagSet
}

// group returns the flags under a title.
func (g *flagGroups) group(title string) *pflag.FlagSet {
	if f := g.sets[title]; f != nil {
		return f
	}
	if g.sets == nil {
		g.sets = map[string]*pflag.FlagSet{}
	}
	f := pflag.NewFlagSet(title, pflag.ContinueOnError)
	f.SortFlags = false
	g.titles, g.sets[title] = append(g.titles, title), f
	return f
}

// all returns the flags of every group as one set, to parse.
func (g *flagGroups) all(name string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SortFlags = false
	for _, title := range g.titles {
		f.AddFlagSet(g.sets[title])
	}
	return f
}

// usage is what --help prints.
func (g *flagGroups) usage() string {
	var b strings.Builder
	for _, title := range g.titles {
		fmt.Fprintf(&b, "\n%s:\n%s", title, g.sets[title].FlagUsagesWrapped(100))
	}
	return b.String()
}

// markdown is the same as tables, for docs/options.md.
func (g *flagGroups) markdown() string {
	var b strings.Builder
	for _, title := range g.titles {
		fmt.Fprintf(&b, "\n### %s\n\n| flag | default | meaning |\n|---|---|---|\n", title)
		g.sets[title].VisitAll(func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			value := ""
			if f.DefValue != "" && f.DefValue != "[]" {
				value = "`" + strings.Trim(f.DefValue, "[]") + "`"
			}
			fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", f.Name, value, f.Usage)
		})
	}
	return b.String()
}
