package sfstream

import "fmt"

// Logs and JSON have the names of these, and not their numbers.

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText is String.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// MarshalText is String.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText is String.
func (f Fallback) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// MarshalText is String.
func (e TransactionEnd) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// MarshalText is String.
func (p AckPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String names the policy, as in "AckManual".
func (p AckPolicy) String() string {
	names := [...]string{"AckAuto", "AckOnReceive", "AckManual"}
	if p < 0 || int(p) >= len(names) {
		return fmt.Sprintf("AckPolicy(%d)", int(p))
	}
	return names[p]
}
