package replaystore_test

import (
	"testing"

	"github.com/sfstream/sfstream-go/replaystore"
)

func TestCanonical(t *testing.T) {
	for _, test := range []struct{ name, org, channel, wantOrg, wantChannel string }{
		{"the first capital of a group is its lowest bit", "A00000000000000", "/u/x", "A00000000000000BAA", "/u/x"},
		{"the last capital of a group is its highest bit", "0000A0000000000", "/u/x", "0000A0000000000QAA", "/u/x"},
		{"an org id of mostly digits", "00D000000000062", "/u/x", "00D000000000062EAA", "/u/x"},
		{"an org id of all kinds", "00Dxx0000001gER", "/u/x", "00Dxx0000001gEREAY", "/u/x"},
		{"all capitals give the last digit", "ABCDEFGHIJKLMNO", "/u/x", "ABCDEFGHIJKLMNO555", "/u/x"},
		{"18 characters stay, whatever their suffix", "00D000000000062XXX", "/u/x", "00D000000000062XXX", "/u/x"},
		{"other lengths stay", "00D", "/u/x", "00D", "/u/x"},
		{"no org id stays none", "", "", "", ""},
		{"a filter is cut", "", "/topic/X?A='1?2'", "", "/topic/X"},
		{"an empty filter is cut", "", "/topic/X?", "", "/topic/X"},
	} {
		t.Run(test.name, func(t *testing.T) {
			key := replaystore.Key{OrgID: test.org, API: "cometd", Channel: test.channel}.Canonical()
			want := replaystore.Key{OrgID: test.wantOrg, API: "cometd", Channel: test.wantChannel}
			if key != want {
				t.Fatalf("got %+v, want %+v", key, want)
			}
			if key.Canonical() != key {
				t.Fatalf("again it is %+v", key.Canonical())
			}
		})
	}
}

func FuzzKeyText(f *testing.F) {
	f.Add("00D000000000062EAA", "pubsub", "/event/Order__e")
	f.Add("a/b", "c%2F", "d\x00\xff/é")
	f.Fuzz(func(t *testing.T, org, api, channel string) {
		want := replaystore.Key{OrgID: org, API: api, Channel: channel}
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got replaystore.Key
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Fatalf("%+v became %q became %+v, %v", want, text, got, err)
		}
	})
}

func TestKeyUnmarshalTextRefusesWhatIsNoKey(t *testing.T) {
	for _, text := range []string{"", "a", "a/b", "%/b/c", "a/%zz/c"} {
		var key replaystore.Key
		if err := key.UnmarshalText([]byte(text)); err == nil || key != (replaystore.Key{}) {
			t.Errorf("%q became %+v, %v", text, key, err)
		}
	}
}

func TestOneKeyInTwoSpellingsIsRefused(t *testing.T) {
	short, long := keyA, keyA
	short.OrgID = short.OrgID[:15]
	for _, store := range []replaystore.Store{replaystore.NewMemory(), openBolt(t, newPath(t))} {
		err := store.Save(t.Context(), map[replaystore.Key]replaystore.Marker{short: {}, long: {}})
		if err == nil {
			t.Errorf("%T saved both", store)
		}
	}
}
