package rotator

import "fmt"

// unsettled looks at the transitions that happen by themselves. Every strongly
// connected component that none of them leaves must be one settled state, and
// none may hold a write: two replicas that fight would write in a circle. It
// returns the trace to the first component that breaks this.
func (g *graph) unsettled() string {
	for _, c := range g.components() {
		inside := map[int32]bool{}
		for _, s := range c {
			inside[s] = true
		}
		leaves := false
		for _, s := range c {
			for _, to := range g.edges[g.first[s]:g.first[s+1]] {
				write := to < 0
				if write {
					to = ^to
				}
				leaves = leaves || !inside[to]
				if write && inside[to] {
					return g.trace(s) + "\n=> and again and again, without end:\n" + g.circle(s, to, inside)
				}
			}
		}
		if leaves {
			continue
		}
		if problem, ok := g.settled(g.states[c[0]]); !ok {
			return g.trace(c[0]) + fmt.Sprintf("\n=> and so it stays: %s (%d states)", problem, len(c))
		}
	}
	return ""
}

// circle lists the transitions from s to next and back to s within a component.
func (g *graph) circle(s, next int32, inside map[int32]bool) string {
	from := map[int32]int32{next: -1}
	for queue := []int32{next}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == s {
			break
		}
		for _, to := range g.edges[g.first[at]:g.first[at+1]] {
			if to < 0 {
				to = ^to
			}
			if _, seen := from[to]; !seen && inside[to] {
				from[to] = at
				queue = append(queue, to)
			}
		}
	}
	path := []int32{}
	for at := s; at >= 0; at = from[at] {
		path = append([]int32{at}, path...)
	}
	return g.steps(g.states[s], path, 1)
}

// components are the strongly connected components, by Tarjan's algorithm
// ("Depth-first search and linear graph algorithms", 1972) without recursion.
func (g *graph) components() [][]int32 {
	n := len(g.states)
	order, low := make([]int32, n), make([]int32, n) // 0: not visited
	onStack := make([]bool, n)
	next := make([]int32, n) // edge to follow next
	var stack, path []int32
	var found [][]int32
	counter := int32(0)
	for root := range n {
		if order[root] != 0 {
			continue
		}
		path = append(path, int32(root))
		for len(path) > 0 {
			s := path[len(path)-1]
			if order[s] == 0 {
				counter++
				order[s], low[s], next[s], onStack[s] = counter, counter, g.first[s], true
				stack = append(stack, s)
			}
			if next[s] < g.first[s+1] {
				to := g.edges[next[s]]
				if to < 0 {
					to = ^to
				}
				next[s]++
				if order[to] == 0 {
					path = append(path, to)
				} else if onStack[to] {
					low[s] = min(low[s], order[to])
				}
				continue
			}
			path = path[:len(path)-1]
			if len(path) > 0 {
				parent := path[len(path)-1]
				low[parent] = min(low[parent], low[s])
			}
			if low[s] != order[s] {
				continue
			}
			at := len(stack) - 1
			for stack[at] != s {
				at--
			}
			component := append([]int32(nil), stack[at:]...)
			for _, member := range component {
				onStack[member] = false
			}
			stack = stack[:at]
			found = append(found, component)
		}
	}
	return found
}
