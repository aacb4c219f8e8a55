// Package disaster loses machines, volumes and backups of real servers, and
// demands everything back.
package disaster

import (
	"testing"

	"github.com/efs-project/efs/internal/scripttest"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// TestScripts runs the transcripts in testdata, one disaster each.
func TestScripts(t *testing.T) { scripttest.Run(t, "testdata") }
