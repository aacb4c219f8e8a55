package main

import (
	"testing"

	"github.com/efs-project/efs/internal/scripttest"
)

func TestScripts(t *testing.T) { scripttest.Run(t, "testdata") }
