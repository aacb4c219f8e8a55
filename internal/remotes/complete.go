package remotes

import (
	"strings"

	"github.com/spf13/cobra"
)

// Complete offers the names of remotes that begin with what was typed, as
// cobra's completion functions do.
func Complete(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	all, err := Load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for name, r := range all.Remotes {
		if strings.HasPrefix(name, typed) {
			names = append(names, name+"\t"+r.User+"@"+r.FS)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
