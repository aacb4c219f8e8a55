package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// ParseDuration reads 90s, 5m, 1h30m, and whole days as 30d.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration such as 30s, 5m, 1h30m or 30d", s)
	}
	return d, nil
}

// DecodeHook reads the texts that settings are written as: durations, sizes,
// and whatever else unmarshals itself from text.
func DecodeHook() mapstructure.DecodeHookFunc {
	duration := func(from, to reflect.Type, v any) (any, error) {
		if to != reflect.TypeFor[time.Duration]() {
			return v, nil
		}
		if from.Kind() != reflect.String {
			return nil, fmt.Errorf("%v is no duration such as \"30s\" or \"5m\": write it as a text with a unit", v)
		}
		return ParseDuration(v.(string))
	}
	return mapstructure.ComposeDecodeHookFunc(duration, mapstructure.TextUnmarshallerHookFunc())
}
