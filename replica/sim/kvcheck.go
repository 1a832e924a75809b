package sim

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkKV gives the history of the correct clients to a linearizability checker that knows nothing of how it came about
// (Horn and Kroening, "Faster linearizability checking via P-compositionality", FORTE '15). Each key is a register; rogue
// clients keep to keys of their own, so nobody else writes.
func checkKV(history []Operation) string {
	byKey := make(map[string][]porcupine.Operation)
	var keys []string
	for _, op := range history {
		verb, key, value := parseKV(op.Op)
		if verb != 'g' && verb != 's' {
			continue
		}
		returned := op.Returned
		if !op.Done {
			if verb == 'g' {
				continue
			}
			return fmt.Sprintf("client %d never got the result of %q", op.Client, op.Op) // the liveness phase says so first
		}
		if byKey[key] == nil {
			keys = append(keys, key)
		}
		byKey[key] = append(byKey[key], porcupine.Operation{
			ClientId: int(op.Client)<<8 | int(op.Slot), Input: register{verb == 's', string(value)}, Output: string(op.Result),
			Call: op.Invoked, Return: returned,
		})
	}
	model := porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			in := input.(register)
			next := state
			if in.set {
				next = in.value
			}
			return output.(string) == state.(string), next
		},
	}
	for _, key := range keys {
		if porcupine.CheckOperationsTimeout(model, byKey[key], 10*time.Second) == porcupine.Illegal {
			return fmt.Sprintf("the history of key %q is not linearizable (%d operations)", key, len(byKey[key]))
		}
	}
	return ""
}

// register is an operation on one: both kinds return the value before.
type register struct {
	set   bool
	value string
}
