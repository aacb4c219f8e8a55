package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/efstest"
)

// server and the files of app1 are what an administrator hands over; here a
// real server is started for the examples.
var (
	server            *efstest.Server
	keyFile, certFile string
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "efs-client")
	if err != nil {
		log.Fatal(err)
	}
	if server, err = efstest.Start(dir); err != nil {
		log.Fatal(err)
	}
	if keyFile, certFile, err = server.AddPGPUser(efstest.FS, "app1"); err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	if err := server.Stop(); err != nil {
		log.Print("stopping the server: ", err)
		code = 1
	}
	if err := os.RemoveAll(dir); err != nil {
		log.Print(err)
		code = 1
	}
	os.Exit(code)
}

func dialExample(ctx context.Context) *client.Client {
	signer, err := client.LoadKey(keyFile, nil)
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Dial(ctx, client.Config{URL: server.URL, Signer: signer, CertFile: certFile, CAFile: server.CAFile})
	if err != nil {
		log.Fatal(err)
	}
	return c
}

func Example() {
	ctx := context.Background()
	signer, err := client.LoadKey(keyFile, nil) // priv.pgp
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Dial(ctx, client.Config{
		URL:      server.URL, // https://efs.example.org
		Signer:   signer,
		CertFile: certFile,      // clientCert.crt
		CAFile:   server.CAFile, // ca.crt
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	stored, err := c.Put(ctx, "/patients/173/note.txt", strings.NewReader("take two a day"), client.PutOptions{})
	if err != nil {
		log.Fatal(err) // not confirmed: keep your copy and put it again
	}
	fmt.Println(stored.Path, stored.Size, stored.SHA256[:8])

	note, err := c.ReadFile(ctx, "/patients/173/note.txt")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", note)
	// Output:
	// /patients/173/note.txt 14 dd4d851e
	// take two a day
}

func ExampleClient_Get() {
	ctx := context.Background()
	c := dialExample(ctx)
	defer c.Close()
	if _, err := c.Put(ctx, "/reports/2026.txt", strings.NewReader("all is well\n"), client.PutOptions{}); err != nil {
		log.Fatal(err)
	}

	body, err := c.Get(ctx, "/reports/2026.txt")
	if err != nil {
		log.Fatal(err)
	}
	defer body.Close()
	fmt.Println(body.Entry.Size, body.Entry.Type)
	if _, err := io.Copy(os.Stdout, body); err != nil { // nil: all of it, and its digest agrees
		log.Fatal(err)
	}
	// Output:
	// 12 text/plain; charset=utf-8
	// all is well
}

func ExampleClient_Put_conditional() {
	ctx := context.Background()
	c := dialExample(ctx)
	defer c.Close()

	first, err := c.Put(ctx, "/counter", strings.NewReader("1"), client.PutOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Put(ctx, "/counter", strings.NewReader("2"), client.PutOptions{IfMatch: first.ETag}); err != nil {
		log.Fatal(err)
	}
	_, err = c.Put(ctx, "/counter", strings.NewReader("2, too"), client.PutOptions{IfMatch: first.ETag})
	fmt.Println("somebody was faster:", errors.Is(err, client.ErrPrecondition))
	// Output: somebody was faster: true
}

func ExampleClient_Open() {
	ctx := context.Background()
	c := dialExample(ctx)
	defer c.Close()
	if _, err := c.Put(ctx, "/alphabet", strings.NewReader("abcdefghijklmnopqrstuvwxyz"), client.PutOptions{}); err != nil {
		log.Fatal(err)
	}

	f, err := c.Open(ctx, "/alphabet")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	part := make([]byte, 3)
	if _, err := f.ReadAt(part, 23); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s of %d bytes\n", part, f.Size())
	// Output: xyz of 26 bytes
}

func ExampleClient_List() {
	ctx := context.Background()
	c := dialExample(ctx)
	defer c.Close()
	for _, path := range []string{"/list/b/c.txt", "/list/a.txt"} {
		if _, err := c.Put(ctx, path, strings.NewReader("x"), client.PutOptions{}); err != nil {
			log.Fatal(err)
		}
	}

	for e, err := range c.List(ctx, "/list", client.ListOptions{Recursive: true}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Kind, e.Path)
	}
	// Output:
	// file /list/a.txt
	// directory /list/b
	// file /list/b/c.txt
}

func ExampleClient_Changes() {
	ctx := context.Background()
	c := dialExample(ctx)
	defer c.Close()
	if _, err := c.Put(ctx, "/followed.txt", strings.NewReader("x"), client.PutOptions{}); err != nil {
		log.Fatal(err)
	}
	if err := c.Remove(ctx, "/followed.txt", client.RemoveOptions{}); err != nil {
		log.Fatal(err)
	}

	for change, err := range c.Changes(ctx, client.ChangesOptions{Since: 0}) {
		if err != nil {
			log.Fatal(err)
		}
		if change.Path == "/followed.txt" {
			fmt.Println(change.Op, change.Path, "by", change.User)
		}
	}
	// Output:
	// create /followed.txt by app1
	// delete /followed.txt by app1
}
