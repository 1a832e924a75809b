package conformance

import (
	"reflect"
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Step{
		"stat f":                          {As: "root", Op: "stat", Args: []string{"f"}},
		"alice: chmod d/f 0644":           {As: "alice", Op: "chmod", Args: []string{"d/f", "0644"}},
		"  dave:  unlink   f  =  EACCES ": {As: "dave", Op: "unlink", Args: []string{"f"}, Want: "EACCES"},
		`put "a b" "\x00\xff\n"`:          {As: "root", Op: "put", Args: []string{"a b", "\x00\xff\n"}},
		`put f "="`:                       {As: "root", Op: "put", Args: []string{"f", "="}},
		`stat "f:"`:                       {As: "root", Op: "stat", Args: []string{"f:"}},
		`stat ""`:                         {As: "root", Op: "stat", Args: []string{""}},
	} {
		got, err := Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "alice:", "nobody: stat f", "fly f", "stat", "stat f g", `stat "f`, "= ok"} {
		if s, err := Parse(text); err == nil {
			t.Errorf("%q is %+v", text, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("alice: open 1 f rw|creat 0644 = ok")
	f.Add(`put "a b" "\xff=:"`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(s.String())
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%q is %+v, whose text %q is %+v, %v", text, s, s.String(), again, err)
		}
	})
}

// Every case of the matrices must be a script, and have a name of its own.
func TestMatricesAreScripts(t *testing.T) {
	names := map[string]bool{}
	total := 0
	for _, m := range matrices {
		for _, c := range m.cases() {
			total++
			if names[c.Name] {
				t.Errorf("two cases are called %q", c.Name)
			}
			names[c.Name] = true
			for _, line := range c.Steps {
				if _, err := Parse(line); err != nil {
					t.Errorf("%s: %v", c.Name, err)
				}
			}
		}
	}
	if total < 5000 {
		t.Errorf("only %d cases", total)
	}
}

func TestCompareFindsEveryDifference(t *testing.T) {
	same := func() *Transcript {
		return &Transcript{Outcomes: []Outcome{{Value: "file 0644"}, {Err: "EACCES"}}, Tree: []string{". dir", "f file"}}
	}
	c := &Case{Name: "c", Steps: []string{"stat f", "unlink f"}}
	for what, change := range map[string]func(*Transcript){
		"a value":      func(t *Transcript) { t.Outcomes[0].Value = "file 0600" },
		"an errno":     func(t *Transcript) { t.Outcomes[1].Err = "ENOENT" },
		"success":      func(t *Transcript) { t.Outcomes[1].Err = "" },
		"a lost file":  func(t *Transcript) { t.Tree = t.Tree[:1] },
		"another file": func(t *Transcript) { t.Tree = append(t.Tree, "g file") },
	} {
		other := same()
		change(other)
		if found := (pair{c, other, same()}).compare(differences, make([]int, len(differences))); len(found) == 0 {
			t.Errorf("%s on the mount is not found", what)
		}
		if found := (pair{c, same(), other}).compare(differences, make([]int, len(differences))); len(found) == 0 {
			t.Errorf("%s on the reference is not found", what)
		}
	}
	if found := (pair{c, same(), same()}).compare(nil, nil); found != nil {
		t.Errorf("equal, and yet %v", found)
	}
	wrong := &Case{Name: "c", Steps: []string{"stat f = ENOENT", "unlink f = EACCES"}}
	if found := (pair{wrong, same(), same()}).compare(nil, nil); len(found) != 1 {
		t.Errorf("a reference that is not as the script expects: %v", found)
	}
}

func TestKnownDifferencesAreNarrow(t *testing.T) {
	c := &Case{Name: "c", Steps: []string{"creat f 0644"}}
	allowed := slices.ContainsFunc(slices.Concat(differences, coldDifferences), func(d difference) bool {
		s, err := Parse("creat f 0644")
		return err != nil || d.Is(&diff{c, &s, Outcome{Err: "EIO"}, Outcome{}})
	})
	if allowed {
		t.Error("EIO is taken for a known difference")
	}
}
