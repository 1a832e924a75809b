package deploy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	alertName      = regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	alertSeverity  = regexp.MustCompile(`severity: (\w+)`)
	operationsItem = regexp.MustCompile(`(?m)^### (\w+)\n\n\*(\w+)\.\* (.+)`)
)

// Every alert has a section in OPERATIONS.md that says how urgent it is and what to do, and there is no section for an alert
// that there is not.
func TestEveryAlertHasASection(t *testing.T) {
	rules := read(t, "prometheus/alerts.yml")
	var want, have []string
	for _, at := range alertName.FindAllStringSubmatchIndex(rules, -1) {
		want = append(want, rules[at[2]:at[3]]+" "+alertSeverity.FindStringSubmatch(rules[at[1]:])[1])
	}
	for _, m := range operationsItem.FindAllStringSubmatch(read(t, "OPERATIONS.md"), -1) {
		have = append(have, m[1]+" "+m[2])
	}
	if len(want) == 0 {
		t.Fatal("alerts.yml has no alerts")
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		t.Errorf("the alerts are\n %s\nbut OPERATIONS.md has\n %s", strings.Join(want, "\n "), strings.Join(have, "\n "))
	}
}
