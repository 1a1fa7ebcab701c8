// Checks a transparency log, its proofs and its notes with the Go project's own packages: main TLOG CASE.json
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type bundle struct {
	Index      int64    `json:"index"`
	Raw        []byte   `json:"raw"`
	Proof      [][]byte `json:"proof"`
	Checkpoint string   `json:"checkpoint"`
}

type given struct {
	VKey      string   `json:"vkey"`
	SKey      string   `json:"skey"`
	Old       string   `json:"old"`
	New       string   `json:"new"`
	Extension [][]byte `json:"extension"`
	Proofs    []bundle `json:"proofs"`
	Cosigned  string   `json:"cosigned"`
	Witness   string   `json:"witness"`
}

// A witness's key as c2sp.org/tlog-cosignature has it, which note's own verifiers do not know.
type witness struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.id }

func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, text)
	return ed25519.Verify(w.key, []byte(signed), signature[8:])
}

func newWitness(vkey string) witness {
	parts := strings.SplitN(vkey, "+", 3)
	typed := must(base64.StdEncoding.DecodeString(parts[2]))
	if len(typed) != 1+ed25519.PublicKeySize || typed[0] != 4 {
		check(fmt.Errorf("witness key %q", vkey))
	}
	hash := sha256.Sum256(append([]byte(parts[0]+"\n"), typed...))
	id := binary.BigEndian.Uint32(hash[:])
	if fmt.Sprintf("%08x", id) != parts[1] {
		check(fmt.Errorf("witness key id %08x", id))
	}
	return witness{parts[0], id, ed25519.PublicKey(typed[1:])}
}

type tiles string

func (folder tiles) Height() int { return 8 }

func (folder tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		path := strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(string(folder), "tile", path))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (folder tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func must[T any](found T, err error) T {
	check(err)
	return found
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func hashes(encoded [][]byte) []tlog.Hash {
	found := make([]tlog.Hash, len(encoded))
	for i, each := range encoded {
		copy(found[i][:], each)
	}
	return found
}

func tree(text string, verifier note.Verifier) tlog.Tree {
	opened := must(note.Open([]byte(text), note.VerifierList(verifier)))
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != verifier.Name() {
		check(fmt.Errorf("origin %q", lines[0]))
	}
	var found tlog.Tree
	must(fmt.Sscan(lines[1], &found.N))
	copy(found.Hash[:], must(base64.StdEncoding.DecodeString(lines[2])))
	return found
}

func main() {
	var asked given
	check(json.Unmarshal(must(os.ReadFile(os.Args[2])), &asked))
	verifier := must(note.NewVerifier(asked.VKey))
	old, now := tree(asked.Old, verifier), tree(asked.New, verifier)

	signer := must(note.NewSigner(strings.TrimSpace(asked.SKey)))
	text := must(note.Open([]byte(asked.New), note.VerifierList(verifier))).Text
	if string(must(note.Sign(&note.Note{Text: text}, signer))) != asked.New {
		check(fmt.Errorf("signed another way"))
	}
	root := must(tlog.TreeHash(now.N, tlog.TileHashReader(now, tiles(os.Args[1]))))
	if root != now.Hash {
		check(fmt.Errorf("the tiles have another root"))
	}
	check(tlog.CheckTree(hashes(asked.Extension), now.N, now.Hash, old.N, old.Hash))
	for _, each := range asked.Proofs {
		at := tree(each.Checkpoint, verifier)
		check(tlog.CheckRecord(hashes(each.Proof), at.N, at.Hash, each.Index, tlog.RecordHash(each.Raw)))
	}
	witness := newWitness(asked.Witness)
	opened := must(note.Open([]byte(asked.Cosigned), note.VerifierList(verifier, witness)))
	fmt.Println("ok", now.N, len(asked.Proofs), len(opened.Sigs), len(opened.UnverifiedSigs))
}
