package main

import (
	"fmt"
	"os"

	"github.com/efs-project/efs/internal/config"
	"github.com/efs-project/efs/internal/kms/open"
	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print a configuration file, or check one",
		Example: `  efs-server config print > efs.toml      # every setting with its default
  efs-server config check efs.toml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configPrintCommand(), configCheckCommand())
	return cmd
}

func configPrintCommand() *cobra.Command {
	var effective bool
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print every setting with its default, or those in force",
		Long: `Print a TOML file with every setting, what it does, and its default as a comment.
With --effective, print the settings in force: from the file that --config or
EFS_CONFIG names, the environment and the flags, each with where it came from.`,
		Example: `  efs-server config print > efs.toml
  efs-server config print --effective --config efs.toml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !effective {
				return config.PrintDefaults(cmd.OutOrStdout(), providerTypes())
			}
			cfg, err := loadConfig(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			return cfg.PrintEffective(cmd.OutOrStdout())
		},
	}
	config.Flags(cmd.Flags())
	cmd.Flags().BoolVar(&effective, "effective", false, "the settings in force, with where each came from")
	return cmd
}

func providerTypes() map[string][]string {
	types := map[string][]string{}
	for _, t := range open.Types() {
		types[t] = open.Options(t)
	}
	return types
}

func configCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration file with the environment (exit code 0 or 2)",
		Long: `Check the settings as a server would that is started now: the file, the
environment and the flags. Everything that is wrong is told at once. Nothing is
opened, listened on or asked.`,
		Example: "  efs-server config check efs.toml\n  EFS_LIMITS_BODY=2GiB efs-server config check",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("unexpected argument %q", args[1])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if f := cmd.Flags().Lookup("config"); f.Changed && f.Value.String() != args[0] {
					return usageError{fmt.Errorf("a file is given twice: %s and --config %s", args[0], f.Value)}
				}
				if err := cmd.Flags().Set("config", args[0]); err != nil {
					return usageError{err}
				}
			}
			cfg, err := loadConfig(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			for _, name := range cfg.Unknown {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: variable %s names no setting and is ignored%s\n", name, config.NearVariable(name))
			}
			what := cfg.File
			if what == "" {
				what = "the environment"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Nothing is wrong with %s.\n", what)
			return err
		},
	}
	config.Flags(cmd.Flags())
	return cmd
}
