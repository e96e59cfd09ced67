package rotator

import (
	"fmt"
	"slices"
	"strings"
)

// exploration says where to begin and what may happen.
type exploration struct {
	start  func(*model) modelState
	events event // the kinds
	left   uint8 // how many of them, in any order
}

// result is what an exploration found.
type result struct {
	states  int
	problem string // the first violation and its trace; empty when there is none
}

// graph holds the states that were reached; indexes are of states.
type graph struct {
	*model
	states []modelState // canonical
	from   []int32      // a predecessor; -1 for the start
	// The transitions that happen by themselves, of state i edges[first[i]:first[i+1]].
	// Those that write are negative: ^ of their target.
	first []int32
	edges []int32
}

// explore visits every state that can be reached, checks that it is safe, and that
// from each of them, if nothing more comes from outside, the fleet settles.
func explore(e exploration, r rules) (res result) {
	m := newModel(r)
	m.events = e.events
	start := e.start(m)
	start.left = e.left
	start = start.canonical()
	g := &graph{model: m, states: []modelState{start}, from: []int32{-1}}
	index := map[modelState]int32{start: 0}
	for i := 0; i < len(g.states); i++ {
		s := g.states[i]
		if problem := m.unsafe(s); problem != "" {
			return result{len(g.states), g.trace(int32(i)) + "\n=> " + problem}
		}
		g.first = append(g.first, int32(len(g.edges)))
		m.successors(s, func(by transition, next modelState) {
			wrote := by.replica != none && (next.secret != s.secret || next.bundle != s.bundle)
			next = next.canonical()
			if next == s {
				return
			}
			to, known := index[next]
			if !known {
				to = int32(len(g.states))
				index[next] = to
				g.states, g.from = append(g.states, next), append(g.from, int32(i))
			}
			if wrote {
				to = ^to
			}
			if !by.outside {
				g.edges = append(g.edges, to)
			}
		})
	}
	g.first = append(g.first, int32(len(g.edges)))
	return result{len(g.states), g.unsettled()}
}

// unsafe says which promise a state breaks; empty when it breaks none.
func (m *model) unsafe(s modelState) string {
	if s.made > limit {
		return "certificates are made without end"
	}
	if s.relapsed {
		return "a replica puts a CA back into the caBundle that was distrusted and gone"
	}
	for i, r := range s.replicas {
		if !r.ready || r.excused || !dayAt(s.today).Before(m.leafExpires(r.serving)) { // a leaf ends only after refusals of days
			continue
		}
		if !s.bundleDamaged && m.alive(s.bundle, s.today) && !m.verifies(s.bundle, r.serving, s.today) {
			return fmt.Sprintf("replica %d is Ready and serves %s, but the caBundle holds %s", i, m.chainString(r.serving), m.bundleString(s.bundle))
		}
		if !s.viewDamaged && m.alive(s.view, s.today) && !m.verifies(s.view, r.serving, s.today) {
			return fmt.Sprintf("replica %d is Ready and serves %s, but an apiserver that lags holds %s", i, m.chainString(r.serving), m.bundleString(s.view))
		}
	}
	return ""
}

// alive reports whether a CA in a caBundle is valid; that none is happens only
// while the cluster is off, or writes are refused, for days.
func (m *model) alive(bundle uint16, today uint8) bool {
	return slices.ContainsFunc(m.bundles.values[bundle][:], func(id uint16) bool { return id != 0 && dayAt(today).Before(m.expires(id)) })
}

// settled reports whether a state is as good as it can be, and what is missing.
// While writes are refused less can be asked for.
func (m *model) settled(s modelState) (string, bool) {
	want := m.bundleString(s.bundle)
	if s.secret >= firstContent {
		want = m.bundleString(m.bundleOf(s.secret))
	}
	for i, r := range s.replicas {
		switch serves := r.memory != 0 && m.contents.values[r.memory].chain == r.serving; {
		case r.offline:
			continue // it comes back, which is another state
		case s.refusesSecret && s.refusesConf:
		case s.refusesSecret:
			if r.memory != 0 && !m.verifies(s.bundle, r.serving, s.today) && dayAt(s.today).Before(m.leafExpires(r.serving)) {
				return fmt.Sprintf("the caBundle, which can be written, does not verify what replica %d serves", i), false
			}
		case r.memory != s.secret:
			return fmt.Sprintf("replica %d does not remember what the Secret holds", i), false
		case s.refusesConf:
		case !serves || !r.ready || !m.verifies(s.bundle, r.serving, s.today):
			return fmt.Sprintf("replica %d does not serve the Secret's chain, by the caBundle", i), false
		case m.bundleString(s.bundle) != want:
			return "the caBundle is not the Secret's", false
		case s.view != s.bundle:
			return "the apiserver has not caught up", false
		}
	}
	for _, r := range s.replicas {
		if r.offline || s.refusesSecret || s.refusesConf {
			continue
		}
		for _, id := range append(m.bundles.values[s.bundle][:], m.contents.values[s.secret].trusted[:]...) {
			if id != 0 && s.distrusted&m.bit(id) != 0 {
				return "a CA that was distrusted is trusted again for good: " + m.caString(id), false
			}
		}
	}
	return "", true
}

func (m *model) caString(id uint16) string {
	switch n := m.cas.values[id].number; {
	case n >= outsider:
		return "foreign CA"
	default:
		return fmt.Sprintf("CA%d", n)
	}
}

func (m *model) bundleString(id uint16) string {
	var names []string
	for _, ca := range m.bundles.values[id] {
		if ca != 0 {
			names = append(names, m.caString(ca))
		}
	}
	return "[" + strings.Join(names, " ") + "]"
}

func (m *model) chainString(id uint16) string {
	if id == 0 {
		return "nothing"
	}
	c := m.chains.values[id]
	text := "a leaf by " + m.caString(c.signer)
	for _, b := range c.bridges {
		if b[0] != 0 {
			text += fmt.Sprintf(", %s by %s", m.caString(b[0]), m.caString(b[1]))
		}
	}
	return text
}

// trace lists the transitions that lead to a state.
func (g *graph) trace(to int32) string {
	var path []int32
	for ; to >= 0; to = g.from[to] {
		path = append(path, to)
	}
	slices.Reverse(path)
	return g.steps(g.states[0], path[1:], 1)
}

// steps lists the transitions of a path that begins at s. Replicas keep their
// numbers on it, although states do not tell them apart.
func (g *graph) steps(s modelState, path []int32, number int) string {
	var lines []string
	for _, to := range path {
		found := false
		g.successors(s, func(by transition, next modelState) {
			if found || next.canonical() != g.states[to] {
				return
			}
			found = true
			who := ""
			if by.replica != none {
				who = fmt.Sprintf("replica %d ", by.replica)
			}
			effect := ""
			if next.secret != s.secret {
				effect += "; Secret: " + g.contentString(next.secret)
			}
			if next.bundle != s.bundle {
				effect += "; caBundle: " + g.bundleString(next.bundle)
			}
			if by.replica != none && next.replicas[by.replica].memory != s.replicas[by.replica].memory && next.secret == s.secret {
				effect += "; remembers " + g.contentString(next.replicas[by.replica].memory)
			}
			lines = append(lines, fmt.Sprintf("%3d. %s%s%s", number+len(lines), who, by.name, effect))
			defer func() { s = next }()
		})
	}
	return strings.Join(lines, "\n")
}

func (m *model) contentString(id uint16) string {
	if id < firstContent {
		return [...]string{"nothing", "empty", "damaged"}[id]
	}
	c := m.contents.values[id]
	return fmt.Sprintf("%s generation %d", m.bundleString(m.bundles.number(c.trusted)), c.generation)
}
