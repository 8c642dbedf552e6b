package cluster

import "fmt"

// Hooks are functions that a replica calls when something happens. Nil functions are not called.
// They run on goroutines of the replica and must not block.
type Hooks struct {
	// OnState is called when a channel has another state in this replica. err is why, where the
	// replica has lost the channel; else it is nil.
	OnState func(channel string, state State, err error)

	// OnMembers is called when other replicas are there than before, with the names of all, sorted.
	OnMembers func(names []string)
}

// State is what a channel is to this replica. The package documentation has a picture.
type State int

const (
	// StateStandby is looking on.
	StateStandby State = iota
	// StateTaking is putting itself as the owner.
	StateTaking
	// StateLeading is following the channel.
	StateLeading
	// StateHandingOver is ending that in good order: no message is handed out any more.
	StateHandingOver
)

// String names the state, as in "leading".
func (s State) String() string {
	names := [...]string{"standby", "taking", "leading", "handing over"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return names[s]
}
