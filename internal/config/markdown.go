package config

import (
	"fmt"
	"strings"
)

// Markdown returns the table of settings for the documentation.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| setting | flag | default | | reload |\n|---|---|---|---|---|\n")
	for _, s := range settings {
		flag, reload := "", ""
		if s.flag != "" {
			flag = "`--" + s.flag + "`"
		}
		if s.live {
			reload = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", s.key, flag, markdownValue(s.value), s.help, reload)
	}
	return b.String()
}

func markdownValue(v any) string {
	switch v := v.(type) {
	case string:
		if v == "" {
			return ""
		}
	case []string:
		if len(v) == 0 {
			return ""
		}
		return "`" + strings.Join(v, ",") + "`"
	}
	return fmt.Sprintf("`%v`", v)
}
