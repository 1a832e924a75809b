package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// pair is a case's transcripts on the mount and on the reference.
type pair struct {
	c                *Case
	mount, reference *Transcript
}

// finding is how the mount differs from the reference, or either from what the script expects.
type finding struct {
	kind string // alike for findings that have the same reason, as far as one can tell
	text string
}

// compare returns the findings of a case, and counts in met which of the known differences it meets.
func (p pair) compare(known []difference, met []int) []finding {
	var found []finding
	excused, last := false, len(p.c.Steps)-1
	for i, line := range p.c.Steps {
		s, err := Parse(line)
		if err != nil {
			return []finding{{"script", err.Error()}}
		}
		m, r := p.mount.Outcomes[i], p.reference.Outcomes[i]
		switch d := (&diff{p.c, &s, m, r}); {
		case s.Want != "" && !r.is(s.Want):
			found = append(found, finding{name("reference", s.Op, r), fmt.Sprintf("  step %d: %s\n    reference: %v", i, short(line), r)})
		case m == r:
			continue
		case d.oneOf(known, met):
			excused = true
			continue
		default:
			found = append(found, finding{name(s.As == "root", s.Op, m.Err, r.Err), fmt.Sprintf("  step %d: %s\n    mount:     %v\n    reference: %v", i, short(line), m, r)})
		}
		if len(found) == 1 {
			last = i
		}
	}
	if !excused {
		found = append(found, compareTrees(p.mount.Tree, p.reference.Tree)...)
	}
	if len(found) == 0 {
		return nil
	}
	steps := make([]string, last+1)
	for i, s := range p.c.Steps[:last+1] {
		steps[i] = fmt.Sprintf("    %2d  %s", i, short(s))
	}
	for i := range found {
		found[i].text = fmt.Sprintf("case %s\n%s\n  of\n%s", p.c.Name, found[i].text, strings.Join(steps, "\n"))
	}
	return found
}

// oneOf reports whether a difference is known, and counts it.
func (d *diff) oneOf(known []difference, met []int) bool {
	for i := range known {
		if known[i].Is(d) {
			met[i]++
			return true
		}
	}
	return false
}

func (o Outcome) is(want string) bool {
	if want == "ok" {
		return o.Err == ""
	}
	return o.String() == want
}

func compareTrees(mount, reference []string) []finding {
	var found []finding
	only := func(have, other []string, where string) {
		for _, line := range have {
			if !slices.Contains(other, line) {
				found = append(found, finding{where, fmt.Sprintf("  left on the %s: %s", where, short(line))})
			}
		}
	}
	only(mount, reference, "mount only    ")
	only(reference, mount, "reference only")
	return found
}

// short cuts what is too long to read.
func short(line string) string {
	const most = 300
	if len(line) > most {
		return fmt.Sprintf("%s… (%d bytes)", line[:most], len(line))
	}
	return line
}

// batch is how many cases go to the guest at once.
const batch = 200

// check runs cases and reports the first finding of each kind.
func (c *client) check(t *testing.T, cases []Case, met []int) {
	t.Helper()
	kinds := map[string]int{}
	bad := 0
	for part := range slices.Chunk(cases, batch) {
		for _, p := range c.run(t, part) {
			found := p.compare(c.known, met)
			if len(found) > 0 {
				bad++
			}
			for _, f := range found {
				if kinds[f.kind]++; kinds[f.kind] == 1 {
					t.Error(f.text)
				}
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d cases differ, in %d ways", bad, len(cases), len(kinds))
	}
}
