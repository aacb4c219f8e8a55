package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/remotes"
)

func printJSON(cmd *cobra.Command, v any) error {
	return plain.JSON(cmd.OutOrStdout(), v, "")
}

// completionTime bounds how long a person who pressed TAB waits.
const completionTime = 5 * time.Second

// maxCompletions bounds what is offered of a large directory.
const maxCompletions = 200

// completePlaces offers names of remotes, paths in file systems, and leaves
// local files to the shell. It logs in if that needs nobody to be asked.
func (a *app) completePlaces(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	name, path, ok := splitRemote(typed)
	if !ok {
		names, _ := remotes.Complete(cmd, nil, typed)
		for i, n := range names {
			remote, what, _ := strings.Cut(n, "\t")
			names[i] = remote + ":/\t" + what
		}
		return names, cobra.ShellCompDirectiveNoSpace
	}
	a.noPrompt = true
	defer a.close()
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	c, err := a.session(ctx, name)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	cut := strings.LastIndexByte(path, '/') + 1
	dir, prefix := path[:cut], path[cut:]
	var found []string
	for e, err := range c.List(ctx, dir, client.ListOptions{}) {
		if err != nil || len(found) >= maxCompletions {
			break
		}
		if !strings.HasPrefix(e.Name, prefix) {
			continue
		}
		entry := name + ":" + dir + e.Name
		if e.IsDir() {
			entry += "/"
		}
		found = append(found, entry)
	}
	return found, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// completeBelow offers the paths of the remote that another flag names.
func (a *app) completeBelow(remote *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
		name, _, named := splitRemote(*remote)
		if !named {
			name = *remote
		}
		if name == "" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, directive := a.completePlaces(cmd, given, name+":/"+strings.TrimPrefix(typed, "/"))
		for i := range found {
			found[i] = strings.TrimPrefix(found[i], name+":")
		}
		return found, directive
	}
}
