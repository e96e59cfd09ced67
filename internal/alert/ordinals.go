package alert

// run is an arithmetic progression of ordinals: From, From+Step, ... To.
// A single ordinal has From == To and Step 0.
type run struct {
	From, To, Step int32
}

// minRun is the shortest progression worth writing as a range: "even 0–6"
// is no shorter to read than "0, 2, 4".
const minRun = 4

// runs writes ascending, distinct ordinals as few progressions. Ordinals that
// share a node group are a fixed step apart, so a thousand replicas become one.
func runs(ordinals []int32) []run {
	var out []run
	for i := 0; i < len(ordinals); {
		n := progression(ordinals[i:])
		if n < minRun {
			out = append(out, run{From: ordinals[i], To: ordinals[i]})
			i++
			continue
		}
		out = append(out, run{From: ordinals[i], To: ordinals[i+n-1], Step: ordinals[i+1] - ordinals[i]})
		i += n
	}
	return out
}

// progression returns how many leading ordinals are one fixed step apart.
func progression(ordinals []int32) int {
	if len(ordinals) < 2 {
		return len(ordinals)
	}
	step, n := ordinals[1]-ordinals[0], 2
	for n < len(ordinals) && ordinals[n]-ordinals[n-1] == step {
		n++
	}
	return n
}

// length returns how many ordinals the run stands for.
func (r run) length() int {
	if r.Step == 0 {
		return 1
	}
	return int((r.To-r.From)/r.Step) + 1
}

// Even says which parity a run of step 2 has.
func (r run) Even() bool { return r.From%2 == 0 }
