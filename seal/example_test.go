package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/efs-project/efs/seal"
)

// Sealing a stream to somebody's public key, and opening it as it comes.
func Example() {
	key, err := seal.GenerateKeyPair() // key.Text() goes to a safe
	if err != nil {
		log.Fatal(err)
	}

	var sealed bytes.Buffer
	w, err := seal.NewWriter(&sealed, &seal.Params{
		Padding: seal.PadPadme,
		Stages:  []seal.Stage{{Suite: seal.AES256GCM, Recipients: []seal.Recipient{key.Public()}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort() // does nothing after Close
	if _, err := io.Copy(w, strings.NewReader("Aspirin, 100 mg")); err != nil {
		log.Fatal(err)
	}
	if _, err := w.Close(seal.Recovery{Type: "text/plain"}); err != nil {
		log.Fatal(err)
	}

	r, err := seal.NewReader(&sealed, &seal.Open{
		Identities: []seal.Identity{key},
		Any:        true, Size: -1, PlainSize: -1,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(os.Stdout, r); err != nil {
		log.Fatal(err) // what was printed is not the whole file
	}
	fmt.Println("\nof type", r.Recovery().Type)
	// Output:
	// Aspirin, 100 mg
	// of type text/plain
}

// A passphrase for a person, and what a wrong one gives.
func ExamplePassphraseRecipient() {
	rcpt, err := seal.PassphraseRecipient([]byte("correct horse battery staple"), seal.Argon2Params{})
	if err != nil {
		log.Fatal(err)
	}
	sealed, info, err := seal.SealBytes(nil, []byte("Aspirin, 100 mg"), &seal.Params{
		Stages: []seal.Stage{{Suite: seal.ChaCha20Poly1305, Recipients: []seal.Recipient{rcpt}}},
	}, seal.Recovery{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Size, "bytes sealed")

	for _, pass := range []string{"hunter2", "correct horse battery staple"} {
		plain, _, err := seal.OpenBytes(nil, sealed, &seal.Open{
			Identities: []seal.Identity{seal.PassphraseIdentity([]byte(pass), seal.Argon2Limits{})},
			Any:        true, Size: -1, PlainSize: -1,
		})
		if errors.Is(err, seal.ErrNoKey) {
			fmt.Println("wrong passphrase")
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", plain)
	}
	// Output:
	// 15 bytes sealed
	// wrong passphrase
	// Aspirin, 100 mg
}

// Reading a part of a file costs what the part costs.
func ExampleReaderAt() {
	key, err := seal.GenerateKeyPair()
	if err != nil {
		log.Fatal(err)
	}
	sealed, _, err := seal.SealBytes(nil, bytes.Repeat([]byte("0123456789"), 100_000), &seal.Params{
		Compression: seal.CompressZstd,
		Stages:      []seal.Stage{{Suite: seal.AES256GCM, Recipients: []seal.Recipient{key.Public()}}},
	}, seal.Recovery{})
	if err != nil {
		log.Fatal(err)
	}

	r, err := seal.NewReaderAt(bytes.NewReader(sealed), int64(len(sealed)), &seal.Open{
		Identities: []seal.Identity{key},
		Any:        true, Size: int64(len(sealed)), PlainSize: -1,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	if err := r.ReadRange(os.Stdout, 500_003, 12); err != nil {
		log.Fatal(err)
	}
	fmt.Println("\nof", r.Size(), "bytes")
	// Output:
	// 345678901234
	// of 1000000 bytes
}
