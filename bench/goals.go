package main

import (
	"cmp"
	"fmt"
	"strings"
)

// aim is one way to reach a goal: EFS does at least so many times what another
// target does in the same round, in the middle of all rounds.
type aim struct {
	other string
	least float64
}

// aims are goals by work: all of them are to be reached, each in one of the
// ways given.
var aims = map[string][][]aim{
	"store-4k":  {{{"minio", 4}}, {{"nginx", 0.6}}},
	"read-4k":   {{{"minio", 4}}, {{"nginx", 0.6}}},
	"store-1m":  {{{"minio", 1.5}}},
	"read-1m":   {{{"minio", 1.7}}, {{"nginx", 0.9}}},
	"store-64m": {{{"minio", 1.1}, {"disk", 0.9}}},
	"read-64m":  {{{"minio", 1.1}}, {{"nginx", 0.9}}},
	"range-1g":  {{{"minio", 3}}},
}

// A verdict is what was measured, what was to be reached, and whether it was.
type verdict struct {
	what, measured, goal string
	judged, met          bool // not judged: there is no goal, or something was left out

	each []string // one mark a goal, where there are several
}

func (v verdict) mark() string {
	if len(v.each) > 0 {
		return strings.Join(v.each, ", ")
	}
	return mark(v.judged, v.met)
}

func mark(judged, met bool) string {
	switch {
	case !judged:
		return ""
	case met:
		return "yes"
	}
	return "**no**"
}

// judge compares a work with its aims.
func (r *Report) judge(work string) verdict {
	v := verdict{what: work, judged: len(aims[work]) > 0, met: true}
	var goals []string
	for _, ways := range aims[work] {
		var texts []string
		known, met := false, false
		for _, a := range ways {
			texts = append(texts, fmt.Sprintf("≥ %g × %s", a.least, names[a.other]))
			if s, ok := r.ratio(work, "efs", a.other); ok {
				known = true
				met = met || s.mid >= a.least
			}
		}
		goals = append(goals, strings.Join(texts, " or "))
		v.each = append(v.each, cmp.Or(mark(known, met), "–"))
		v.judged, v.met = v.judged && known, v.met && met
	}
	v.goal = strings.Join(goals, ", ")
	return v
}

// sealGoals are the least ratios that benchmarks of the package seal report.
var sealGoals = map[string]struct {
	what  string
	least float64
}{
	"Digest":    {"`seal`, with the digest: of AES-256-GCM and SHA-256 one after the other", 0.93},
	"NoDigest":  {"`seal`, without the digest: of AES-256-GCM", 0.93},
	"TwoCores":  {"`seal` on two cores: of AES-256-GCM on one", 1.85},
	"TwoStages": {"`seal`, AES-256-GCM and ChaCha20-Poly1305: of the two one after the other", 0.9},
}

// alone are the verdicts on what EFS does without a peer beside it.
func (r *Report) alone() []verdict {
	var all []verdict
	if s, ok := r.independence(); ok {
		all = append(all, verdict{"64 KiB ranges of a 1 GiB file: CPU of the server a request, as a multiple of that for a 16 MiB file",
			ratioText(s), "≤ 1.1", true, s.mid <= 1.1, nil})
	}
	if rounds := r.Mixed["efs"]; len(rounds) > 0 {
		slower, keeps := spreadOf(over(rounds, Mixed.Slower)), spreadOf(over(rounds, Mixed.Keeps))
		text := ratioText(slower)
		if peer := r.Mixed["minio"]; len(peer) > 0 {
			text += "; MinIO " + ratioText(spreadOf(over(peer, Mixed.Slower)))
		}
		all = append(all, verdict{fmt.Sprintf("p99 of 4 KiB stores while four uploads of %s run, as a multiple of that without them", size(rounds[0].Size)),
			text, "≤ 6", true, slower.mid <= 6, nil})
		text = ratioText(keeps)
		if peer := r.Mixed["minio"]; len(peer) > 0 {
			text += "; MinIO " + ratioText(spreadOf(over(peer, Mixed.Keeps)))
		}
		all = append(all, verdict{"rate of those uploads, as a share of that without the stores",
			text, "≥ 0.7", true, keeps.mid >= 0.7, nil})
	}
	if m := r.Memory; m != nil {
		all = append(all,
			verdict{fmt.Sprintf("anonymous memory at its peak, %d uploads of %s at once", m.Uploads, size(m.UploadSize)),
				size(m.UploadsPeak), "≤ 160 MiB", true, m.UploadsPeak <= 160<<20, nil},
			verdict{fmt.Sprintf("the same for one file of %s stored and read, beside one of %s", size(m.Large), size(m.Small)),
				size(m.LargePeak) + " and " + size(m.SmallPeak), "the same, within a quarter", true, m.LargePeak <= m.SmallPeak*5/4, nil})
	}
	for _, x := range r.Seal {
		if g, ok := sealGoals[x.Name]; ok {
			s := spreadOf(x.Values)
			all = append(all, verdict{g.what, ratioText(s), fmt.Sprintf("≥ %g", g.least), true, s.mid >= g.least, nil})
		}
	}
	return all
}

// independence is what a range of a large file costs the server, as a multiple
// of what one of a small file does; the rates would say how busy the machine was.
func (r *Report) independence() (spread, bool) {
	large, small := r.Results["range-1g"]["efs"], r.Results["range-16m"]["efs"]
	if len(large) == 0 || len(small) != len(large) {
		return spread{}, false
	}
	ratios := make([]float64, len(large))
	for i := range large {
		ratios[i] = float64(large[i].CPU()) / float64(max(1, small[i].CPU()))
	}
	return spreadOf(ratios), true
}
