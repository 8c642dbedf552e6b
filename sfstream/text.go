package sfstream

import (
	"fmt"
	"strings"
)

// The types below are printed by name, not by number, in logs and in JSON.

// MarshalText returns the name that String returns.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (s *State) UnmarshalText(text []byte) error { return fromName(s, text) }

// MarshalText returns the name that String returns.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (c *Code) UnmarshalText(text []byte) error { return fromName(c, text) }

// MarshalText returns the name that String returns.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (t *Transport) UnmarshalText(text []byte) error { return fromName(t, text) }

// MarshalText returns the name that String returns.
func (f Fallback) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (f *Fallback) UnmarshalText(text []byte) error { return fromName(f, text) }

// MarshalText returns the name that String returns.
func (e TransactionEnd) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (e *TransactionEnd) UnmarshalText(text []byte) error { return fromName(e, text) }

// MarshalText returns the name that String returns.
func (p AckPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is the inverse of MarshalText. It fails if no constant has that name.
func (p *AckPolicy) UnmarshalText(text []byte) error { return fromName(p, text) }

// String names the policy, as in "AckManual".
func (p AckPolicy) String() string {
	names := [...]string{"AckAuto", "AckOnReceive", "AckManual"}
	if p < 0 || int(p) >= len(names) {
		return fmt.Sprintf("AckPolicy(%d)", int(p))
	}
	return names[p]
}

// fromName sets into to the constant of that name. No type here has sixteen constants.
func fromName[T interface {
	~int
	fmt.Stringer
}](into *T, text []byte) error {
	for value := T(0); value < 16; value++ {
		if name := value.String(); name == string(text) && !strings.Contains(name, "(") {
			*into = value
			return nil
		}
	}
	return fmt.Errorf("sfstream: no %T is called %.40q", *into, text)
}
