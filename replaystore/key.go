package replaystore

import (
	"fmt"
	"net/url"
	"strings"
)

// Key says which channel a [Marker] is for. All three fields matter, because a replay id means
// nothing in another org, through another API or on another channel.
type Key struct {
	// OrgID is the 18-character id of the org.
	OrgID string

	// API is "pubsub" or "cometd".
	API string

	// Channel is the channel without its ?filter, such as /event/Order__e.
	Channel string
}

// Canonical returns the form of the key that stores compare: a 15-character OrgID gets its
// 18-character form, and Channel is cut before a ?filter. An OrgID of another length is left as it
// is. Every store applies Canonical to every key that it is given.
func (k Key) Canonical() Key {
	if len(k.OrgID) == 15 {
		k.OrgID += suffix(k.OrgID)
	}
	k.Channel, _, _ = strings.Cut(k.Channel, "?")
	return k
}

// suffix returns the three characters that tell 15-character Salesforce ids apart even if letter
// case is lost. Each stands for five characters of the id and has a bit set for each upper-case
// letter; the lowest bit is for the first letter.
func suffix(id string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
	var out [3]byte
	for group := range out {
		bits := 0
		for i, c := range []byte(id[group*5 : group*5+5]) {
			if 'A' <= c && c <= 'Z' {
				bits |= 1 << i
			}
		}
		out[group] = digits[bits]
	}
	return string(out[:])
}

// MarshalText encodes the key, as it is and not in its canonical form, as OrgID/API/Channel with
// OrgID and API path-escaped: 00D000000000062EAA/pubsub//event/Order__e. Different keys have
// different texts. The error is always nil.
func (k Key) MarshalText() ([]byte, error) {
	return []byte(url.PathEscape(k.OrgID) + "/" + url.PathEscape(k.API) + "/" + k.Channel), nil
}

// UnmarshalText decodes what MarshalText wrote.
func (k *Key) UnmarshalText(text []byte) error {
	parts := strings.SplitN(string(text), "/", 3)
	if len(parts) != 3 {
		return fmt.Errorf("%q is not a key of the form OrgID/API/Channel", text)
	}
	org, err := url.PathUnescape(parts[0])
	if err != nil {
		return fmt.Errorf("org id in key %q: %w", text, err)
	}
	api, err := url.PathUnescape(parts[1])
	if err != nil {
		return fmt.Errorf("API in key %q: %w", text, err)
	}
	*k = Key{OrgID: org, API: api, Channel: parts[2]}
	return nil
}

// canonical returns a copy of markers under their canonical keys. It refuses one key in two
// spellings, because it would depend on the order of the map which of its markers wins.
func canonical(markers map[Key]Marker) (map[Key]Marker, error) {
	out := make(map[Key]Marker, len(markers))
	for key, marker := range markers {
		key = key.Canonical()
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("replaystore: two spellings of the key %+v in one Save", key)
		}
		out[key] = marker
	}
	return out, nil
}
