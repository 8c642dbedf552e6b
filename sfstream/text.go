package sfstream

import (
	"fmt"
	"strings"
)

// Logs and JSON have the names of these, and not their numbers.

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText; the error is that there is no such name.
func (s *State) UnmarshalText(text []byte) error { return fromName(s, text) }

// MarshalText is String.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the inverse of MarshalText; the error is that there is no such name.
func (c *Code) UnmarshalText(text []byte) error { return fromName(c, text) }

// MarshalText is String.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is the inverse of MarshalText; the error is that there is no such name.
func (t *Transport) UnmarshalText(text []byte) error { return fromName(t, text) }

// MarshalText is String.
func (f Fallback) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is the inverse of MarshalText; the error is that there is no such name.
func (f *Fallback) UnmarshalText(text []byte) error { return fromName(f, text) }

// MarshalText is String.
func (e TransactionEnd) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is the inverse of MarshalText; the error is that there is no such name.
func (e *TransactionEnd) UnmarshalText(text []byte) error { return fromName(e, text) }

// MarshalText is String.
func (p AckPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is the inverse of MarshalText; the error is that there is no such name.
func (p *AckPolicy) UnmarshalText(text []byte) error { return fromName(p, text) }

// String names the policy, as in "AckManual".
func (p AckPolicy) String() string {
	names := [...]string{"AckAuto", "AckOnReceive", "AckManual"}
	if p < 0 || int(p) >= len(names) {
		return fmt.Sprintf("AckPolicy(%d)", int(p))
	}
	return names[p]
}

// fromName is the constant of a name. There are fewer than sixteen of each.
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
