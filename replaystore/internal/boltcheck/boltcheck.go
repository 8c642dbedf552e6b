// Package boltcheck looks whether a bbolt file is sound before bbolt reads it.
package boltcheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// Parts of bbolt's file format, which has been the same since 2013. Numbers are in the byte order
// of the machine. A file is a row of pages; a page and the overflow pages behind it are one block:
//
//	page      id u64, flags u16, count u16, overflow u32, then by flags:
//	meta      magic u32, version u32, pageSize u32, flags u32, root bucket (16 bytes), freelist page u64,
//	          number of pages u64, transaction u64, FNV-1a of the foregoing u64
//	branch    count × (offset of the key from here u32, its size u32, child page u64), keys
//	leaf      count × (flags u32, offset of the key from here u32, its size u32, size of the value u32), keys
//	          and values, each value behind its key
//	freelist  count × page u64; with count 0xFFFF the first one is the real count
//	bucket    root page u64, sequence u64; as the value of a leaf, where root 0 means that a leaf page follows
const (
	pageHeader   = 16
	pageElement  = 16
	bucketHeader = 16
	metaSize     = 64

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	bucketFlag  = 0x01
	boltMagic   = 0xED0CDAED
	boltVersion = 2
)

var order = binary.NativeEndian

// Verify reads all of a bbolt file, which nobody may be writing, and fails unless its pages make
// sense: each in the file, of the right kind, used once, and with its keys within it and in order.
//
// bbolt does not look. What it does with a damaged page is to panic, sometimes on a goroutine of
// its own, to recurse until the stack ends, or to read past the end of the mapping; the latter two
// end the process, and no recover prevents that. And a key out of order would be a marker that is
// not found, which means lost events.
func Verify(file *os.File, pageSize int) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if pageSize < pageHeader+metaSize {
		return fmt.Errorf("pages of %d bytes", pageSize)
	}
	meta, err := newestMeta(file, pageSize)
	if err != nil {
		return err
	}
	n := order.Uint64(meta[40:])
	if n > uint64(info.Size())/uint64(pageSize) {
		return fmt.Errorf("truncated: %d bytes of %d pages", info.Size(), n)
	}
	v := verifier{file: file, pageSize: pageSize, used: make([]bool, n)}
	if err := v.freelist(order.Uint64(meta[32:])); err != nil {
		return err
	}
	return v.tree(order.Uint64(meta[16:]), nil, nil)
}

// newestMeta returns the content of the meta page that bbolt will use: each transaction writes the
// older of the two, and a crash may leave that one half written.
func newestMeta(file io.ReaderAt, pageSize int) (newest []byte, err error) {
	for page := range 2 {
		meta := make([]byte, metaSize)
		if _, err := file.ReadAt(meta, int64(page*pageSize+pageHeader)); err != nil {
			return nil, err
		}
		sum := fnv.New64a()
		sum.Write(meta[:56])
		if order.Uint32(meta) != boltMagic || order.Uint32(meta[4:]) != boltVersion || order.Uint64(meta[56:]) != sum.Sum64() {
			continue
		}
		if order.Uint32(meta[8:]) != uint32(pageSize) {
			return nil, errors.New("the meta pages disagree about the size of a page")
		}
		if newest == nil || order.Uint64(meta[48:]) > order.Uint64(newest[48:]) {
			newest = meta
		}
	}
	if newest == nil {
		return nil, errors.New("both meta pages are damaged")
	}
	return newest, nil
}

type verifier struct {
	file     io.ReaderAt
	pageSize int
	used     []bool // by page; its length is the number of pages
}

// claim notes that page id has a use.
func (v *verifier) claim(id uint64) error {
	if id < 2 || id >= uint64(len(v.used)) {
		return fmt.Errorf("page %d is not one of the %d pages", id, len(v.used))
	}
	if v.used[id] {
		return fmt.Errorf("page %d is used twice", id)
	}
	v.used[id] = true
	return nil
}

// block claims and reads a page with those behind it.
func (v *verifier) block(id uint64) ([]byte, error) {
	if err := v.claim(id); err != nil {
		return nil, err
	}
	header := make([]byte, pageHeader)
	if _, err := v.file.ReadAt(header, int64(id)*int64(v.pageSize)); err != nil {
		return nil, err
	}
	if order.Uint64(header) != id {
		return nil, fmt.Errorf("page %d says that it is page %d", id, order.Uint64(header))
	}
	overflow := uint64(order.Uint32(header[12:]))
	for i := range overflow {
		if err := v.claim(id + 1 + i); err != nil {
			return nil, err
		}
	}
	block := make([]byte, (1+int(overflow))*v.pageSize)
	_, err := v.file.ReadAt(block, int64(id)*int64(v.pageSize))
	return block, err
}

func (v *verifier) freelist(id uint64) error {
	block, err := v.block(id)
	if err != nil {
		return fmt.Errorf("free list: %w", err)
	}
	flags, count, ids := order.Uint16(block[8:]), uint64(order.Uint16(block[10:])), block[pageHeader:]
	if flags == freelistPage && count == 0xFFFF && len(ids) >= 8 {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if flags != freelistPage || count > uint64(len(ids)/8) {
		return fmt.Errorf("free list: page %d is damaged", id)
	}
	for i := range count {
		if err := v.claim(order.Uint64(ids[8*i:])); err != nil {
			return fmt.Errorf("free list: %w", err)
		}
	}
	return nil
}

// tree verifies the tree at page id, whose keys must be at least low and, where high is not nil,
// below high. It ends because a page that occurs twice is an error.
func (v *verifier) tree(id uint64, low, high []byte) error {
	block, err := v.block(id)
	if err != nil {
		return err
	}
	if err := v.page(block, low, high); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (v *verifier) page(page, low, high []byte) error {
	flags, count := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
	if flags != leafPage && (flags != branchPage || count == 0) || pageHeader+count*pageElement > len(page) {
		return errors.New("neither branch nor leaf")
	}
	keys := make([][]byte, count+1)
	keys[count] = high
	for i := range count {
		at, size := 0, 4 // of offset and size in a branch's element
		if flags == leafPage {
			at, size = 4, 8
		}
		element := page[pageHeader+i*pageElement:]
		key, ok := cut(element, uint64(order.Uint32(element[at:])), uint64(order.Uint32(element[size:])))
		if !ok || len(key) == 0 {
			return fmt.Errorf("key %d is outside of the page", i)
		}
		if c := bytes.Compare(low, key); c > 0 || c == 0 && i > 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return fmt.Errorf("key %d is out of order", i)
		}
		keys[i], low = key, key
	}
	for i, key := range keys[:count] {
		element := page[pageHeader+i*pageElement:]
		var err error
		if flags == branchPage {
			err = v.tree(order.Uint64(element[8:]), key, keys[i+1])
		} else {
			err = v.leaf(element)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leaf verifies the value of a leaf's element, and the bucket where it is one.
func (v *verifier) leaf(element []byte) error {
	start := uint64(order.Uint32(element[4:])) + uint64(order.Uint32(element[8:]))
	value, ok := cut(element, start, uint64(order.Uint32(element[12:])))
	if !ok {
		return errors.New("a value is outside of the page")
	}
	if order.Uint32(element)&bucketFlag == 0 {
		return nil
	}
	if len(value) < bucketHeader {
		return errors.New("a bucket is cut off")
	}
	if root := order.Uint64(value); root != 0 {
		return v.tree(root, nil, nil)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || order.Uint64(inline) != 0 || order.Uint16(inline[8:]) != leafPage {
		return errors.New("an inline bucket is damaged")
	}
	return v.page(inline, nil, nil)
}

// cut returns b[start : start+size] where that is in b.
func cut(b []byte, start, size uint64) ([]byte, bool) {
	if start > uint64(len(b)) || size > uint64(len(b))-start {
		return nil, false
	}
	return b[start : start+size], true
}
