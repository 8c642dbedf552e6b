package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sfstream/sfstream-go/sfstream/sfstreamtest"
)

// definition is an entry of a file of -define.
type definition struct {
	place   string // its file and its number there
	text    json.RawMessage
	members bool // it is a custom channel, which needs its members
}

// readDefinitions reads files, and the *.json files of folders. A file has an object as the control
// API takes it, or an array of them.
func readDefinitions(ctx context.Context, paths []string) (list []definition, err error) {
	for _, path := range paths {
		files := []string{path}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if files, err = filepath.Glob(filepath.Join(path, "*.json")); err != nil {
				return nil, err
			}
			if len(files) == 0 {
				return nil, fmt.Errorf("-define %s: there is no file *.json", path)
			}
		}
		for _, file := range files {
			entries, err := readDefinitionFile(ctx, file)
			if err != nil {
				return nil, err
			}
			list = append(list, entries...)
		}
	}
	// Channels come before those that carry them, wherever they stand.
	slices.SortStableFunc(list, func(a, b definition) int {
		switch {
		case a.members == b.members:
			return 0
		case a.members:
			return 1
		}
		return -1
	})
	return list, nil
}

func readDefinitionFile(ctx context.Context, file string) (list []definition, err error) {
	text, readErr := readInput(ctx, func() ([]byte, error) { return os.ReadFile(file) })
	wrong := func(err error) error {
		if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
			return fmt.Errorf("-define %s: line %d: %w", file, 1+bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n")), err)
		}
		return fmt.Errorf("-define %s: %w", file, err)
	}
	if at := new(fs.PathError); errors.As(readErr, &at) {
		return nil, wrong(at.Err)
	}
	if readErr != nil {
		return nil, wrong(readErr)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	var whole json.RawMessage
	if err := dec.Decode(&whole); errors.Is(err, io.EOF) {
		return nil, wrong(errors.New("is empty: it has an object as the control API takes it, or an array of them"))
	} else if err != nil {
		return nil, wrong(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, wrong(errors.New("there is something behind the JSON: several definitions are an array"))
	}
	entries := []json.RawMessage{whole}
	array := whole[0] == '['
	if array {
		if err := json.Unmarshal(whole, &entries); err != nil {
			return nil, wrong(err)
		}
	}
	for i, entry := range entries {
		d := definition{place: file, text: entry}
		if array {
			d.place = fmt.Sprintf("%s: entry %d", file, i+1)
		}
		var custom struct{ Members json.RawMessage }
		d.members = json.Unmarshal(entry, &custom) == nil && custom.Members != nil
		list = append(list, d)
	}
	return list, nil
}

// define makes what the files have in an org.
func define(org *sfstreamtest.Server, list []definition) error {
	for _, d := range list {
		if err := org.DefineJSON(d.text); err != nil {
			return fmt.Errorf("-define %s: %s", d.place, strings.TrimPrefix(err.Error(), "sfstreamtest: "))
		}
	}
	return nil
}
