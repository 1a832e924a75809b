package conformance

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// User is an identity under which system calls are made.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
}

// Users are who may appear in a script. Alice owns things; bob is in her group by his own group, carol by a supplementary
// one; dave is nobody to her. Sys is root's user with no group of anybody.
var Users = map[string]User{
	"root":  {},
	"alice": {UID: 1001, GID: 2001, Groups: []uint32{2001, 2011, 2012}},
	"bob":   {UID: 1002, GID: 2001},
	"carol": {UID: 1003, GID: 2003, Groups: []uint32{2099, 2001, 2011}},
	"dave":  {UID: 1004, GID: 2004, Groups: []uint32{2014}},
}

// Step is one system call by one user.
type Step struct {
	As   string // one of Users
	Op   string // one of ops
	Args []string
	Want string // the expected outcome, "ok" or an errno's name; empty: what the reference says
}

// Parse reads a step's text:
//
//	[user:] op argument... [= outcome]
//
// The user is root if none is named. An argument with white space or odd bytes is a quoted Go string.
func Parse(line string) (Step, error) {
	words, err := split(line)
	if err != nil {
		return Step{}, fmt.Errorf("step %q: %w", line, err)
	}
	s := Step{As: "root"}
	if len(words) > 0 && !words[0].quoted && strings.HasSuffix(words[0].text, ":") {
		s.As = strings.TrimSuffix(words[0].text, ":")
		words = words[1:]
	}
	if n := len(words); n >= 2 && !words[n-2].quoted && words[n-2].text == "=" {
		s.Want = words[n-1].text
		words = words[:n-2]
	}
	if _, ok := Users[s.As]; !ok {
		return Step{}, fmt.Errorf("step %q: no user %q", line, s.As)
	}
	if len(words) == 0 {
		return Step{}, fmt.Errorf("step %q: no operation", line)
	}
	s.Op = words[0].text
	for _, w := range words[1:] {
		s.Args = append(s.Args, w.text)
	}
	op, ok := ops[s.Op]
	if !ok {
		return Step{}, fmt.Errorf("step %q: no operation %q", line, s.Op)
	}
	if len(s.Args) != op.args {
		return Step{}, fmt.Errorf("step %q: %s takes %d arguments", line, s.Op, op.args)
	}
	return s, nil
}

// String is the text that Parse reads.
func (s Step) String() string {
	var b strings.Builder
	if s.As != "root" {
		b.WriteString(s.As + ": ")
	}
	b.WriteString(s.Op)
	for _, a := range s.Args {
		b.WriteString(" " + quote(a))
	}
	if s.Want != "" {
		b.WriteString(" = " + quote(s.Want))
	}
	return b.String()
}

type word struct {
	text   string
	quoted bool
}

var errQuote = errors.New("a quoted argument is not closed or not a Go string")

func split(line string) ([]word, error) {
	var words []word
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimSpace(rest) {
		if rest[0] == '"' {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, errQuote
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, errQuote
			}
			words, rest = append(words, word{text, true}), rest[len(quoted):]
			continue
		}
		end := strings.IndexFunc(rest, unicode.IsSpace)
		if end < 0 {
			end = len(rest)
		}
		words, rest = append(words, word{text: rest[:end]}), rest[end:]
	}
	return words, nil
}

// quote is an argument's text: itself where that is read back as it is.
func quote(arg string) string {
	plain := func(r rune) bool { return r > ' ' && r < 0x7f && r != '"' && r != '=' && r != ':' }
	if arg == "" || strings.ContainsFunc(arg, func(r rune) bool { return !plain(r) }) {
		return strconv.Quote(arg)
	}
	return arg
}

// Case is a script, run in a directory of its own that everybody may write to.
type Case struct {
	Name  string   `json:"name"`
	Steps []string `json:"steps"`
}

// Outcome is what a system call did.
type Outcome struct {
	Err   string `json:"e,omitempty"` // an errno's name; empty if it succeeded
	Value string `json:"v,omitempty"` // what it returned or, where the script watches times, what changed
}

func (o Outcome) String() string {
	switch {
	case o.Err != "":
		return o.Err
	case o.Value != "":
		return o.Value
	}
	return "ok"
}

// Transcript is what a case did on one file system.
type Transcript struct {
	Outcomes []Outcome `json:"o"` // of each step
	Tree     []string  `json:"t"` // what is left, sorted by path
}
