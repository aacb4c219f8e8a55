package secret

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The settings are for the life of a process, so a child makes them and tells
// what the kernel then says.
const childVar = "EFS_TEST_SECRET_CHILD"

type childReport struct {
	Harden   string
	CoreCur  uint64
	CoreMax  uint64
	Dumpable int
	Status   string
	Key      string // error of making a key
	Kept     bool   // a key made before is still there
}

func TestMain(m *testing.M) {
	switch os.Getenv(childVar) {
	case "harden":
		report(Harden())
	case "no-lock":
		report(forbidLocking())
	default:
		os.Exit(m.Run())
	}
}

func report(err error) {
	r := childReport{Harden: fmt.Sprint(err)}
	var limit unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &limit)
	r.CoreCur, r.CoreMax = limit.Cur, limit.Max
	r.Dumpable, _ = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	_, err = RandomKey()
	r.Key = fmt.Sprint(err)
	r.Kept = early != nil && early.With(func([]byte) {}) == nil
	status, _ := os.ReadFile("/proc/self/status")
	r.Status = string(status)
	_ = json.NewEncoder(os.Stdout).Encode(r)
}

// early is made before anything is forbidden.
var early *Key

// forbidLocking fills the first page with keys, then takes away the limit and
// the capability that allow mlock.
func forbidLocking() error {
	for range slotsPerPage() {
		var err error
		if early, err = RandomKey(); err != nil {
			return err
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{}); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return err
	}
	return Harden()
}

func child(t *testing.T, what string) childReport {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+what)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("child: %v", err)
	}
	var r childReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("child said %q: %v", out, err)
	}
	return r
}

func TestHarden(t *testing.T) {
	r := child(t, "harden")
	if r.Harden != "<nil>" || r.CoreCur != 0 || r.CoreMax != 0 || r.Key != "<nil>" {
		t.Errorf("%+v", r)
	}
	if want := map[bool]int{false: 0, true: 1}[dumpable]; r.Dumpable != want {
		t.Errorf("PR_GET_DUMPABLE is %d, want %d", r.Dumpable, want)
	}
	if locked := statusLine(r.Status, "VmLck:"); locked == "" || locked == "0 kB" {
		t.Errorf("VmLck is %q: no memory is locked", locked)
	}
}

func statusLine(status, name string) string {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// A process that may not lock more memory is told what to change, and keeps
// the keys that it has.
func TestWithoutLockableMemory(t *testing.T) {
	r := child(t, "no-lock")
	for what, said := range map[string]string{"Harden": r.Harden, "NewKey": r.Key} {
		if !strings.Contains(said, "ulimit -l 64") || !strings.Contains(said, "LimitMEMLOCK") {
			t.Errorf("%s said %q", what, said)
		}
	}
	if !r.Kept {
		t.Error("the keys made before are gone")
	}
}
