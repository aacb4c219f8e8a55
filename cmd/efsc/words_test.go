package main

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func texts(words []word) (texts []string) {
	for _, w := range words {
		texts = append(texts, w.text)
	}
	return texts
}

func TestLinesAreSplitAsShellsDo(t *testing.T) {
	for line, want := range map[string][]string{
		"":                          nil,
		"   ":                       nil,
		"# a comment":               nil,
		"ls # a comment":            {"ls"},
		"ls":                        {"ls"},
		" get  /a\t/b \r":           {"get", "/a", "/b"},
		`get 'with space' "a \" b"`: {"get", "with space", `a " b`},
		`get with\ space ''`:        {"get", "with space", ""},
		`get 'back\slash' ü`:        {"get", `back\slash`, "ü"},
		`get "back\slash" \ü`:       {"get", `back\slash`, "ü"},
		`get a#b`:                   {"get", "a#b"},
		`get a'b'"c"\d`:             {"get", "abcd"},
		`post a <<END`:              {"post", "a", "<<END"},
		`get 'a>b' c\;d "e&f"`:      {"get", "a>b", "c;d", "e&f"},
	} {
		got, err := split(line)
		if err != nil || fmt.Sprintf("%q", texts(got)) != fmt.Sprintf("%q", want) {
			t.Errorf("split(%q) = %q, %v; want %q", line, texts(got), err, want)
		}
	}
	for _, line := range []string{`get "open`, `get 'open`, `get open\`, "get a > b", "get a>b", "ls | wc", "ls; ls", "ls &", "get <a", "post a <<<x"} {
		if got, err := split(line); err == nil {
			t.Errorf("split(%q) = %q, want an error", line, texts(got))
		}
	}
}

func TestWhatIsQuotedIsNoPattern(t *testing.T) {
	for line, want := range map[string]struct {
		glob    bool
		matches string
	}{
		`*.pdf`:       {true, "a.pdf"},
		`'*.pdf'`:     {false, "*.pdf"},
		`\*.pdf`:      {false, "*.pdf"},
		`'*'*`:        {true, "*x"},
		`"a b"?`:      {true, "a bc"},
		`[!a]x`:       {true, "bx"},
		`[ab`:         {false, ""},
		`a'['b`:       {false, "a[b"},
		`'a\b'[0-9]*`: {true, `a\b7x`},
	} {
		words, err := split(line)
		if err != nil || len(words) != 1 || words[0].glob != want.glob {
			t.Errorf("%s: %+v, %v; want a pattern: %v", line, words, err, want.glob)
			continue
		}
		if ok, err := path.Match(words[0].pattern, want.matches); want.matches != "" && (!ok || err != nil) {
			t.Errorf("%s as %s does not match %q: %v", line, words[0].pattern, want.matches, err)
		}
	}
	if words, _ := split(`'*'*`); len(words) == 1 {
		if ok, _ := path.Match(words[0].pattern, "ab"); ok {
			t.Errorf("%s matches ab", words[0].pattern)
		}
	}
}

// Whatever a name is made of, what is written for it means it, also when it
// was begun in quotes.
func TestQuotedNamesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[^\x00-\x1f]{0,12}`).Draw(t, "name")
		words, err := split("x " + quoted(name))
		if err != nil || len(words) != 2 || words[1].text != name || words[1].glob || words[1].home {
			t.Fatalf("%q written as %s is read as %+v, %v", name, quoted(name), words, err)
		}
		cut := rapid.IntRange(0, len([]rune(name))).Draw(t, "cut")
		begun, rest := string([]rune(name)[:cut]), string([]rune(name)[cut:])
		quote := rapid.SampledFrom([]rune{0, '\'', '"'}).Draw(t, "quote")
		line := continued(begun, quote) + continued(rest, quote)
		if quote != 0 {
			line = string(quote) + line + string(quote)
		}
		words, err = split("x " + line)
		if name == "" && quote == 0 {
			return
		}
		if err != nil || len(words) != 2 || words[1].text != name || words[1].glob {
			t.Fatalf("%q written as %s is read as %+v, %v", name, line, words, err)
		}
	})
}

func TestWhatComesBeforeAPrefixIsBeforeAllThatBeginWithIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.StringMatching(`[^\x00/]{0,6}`).Draw(t, "prefix")
		name := prefix + rapid.StringMatching(`[^\x00/]{0,6}`).Draw(t, "rest")
		b := before(prefix)
		if b != "" && (b >= name || b >= prefix || strings.Contains(b, "/")) {
			t.Fatalf("%q is not before %q", b, name)
		}
	})
}
