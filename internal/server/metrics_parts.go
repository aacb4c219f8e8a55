package server

import (
	"context"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/node"
	"github.com/prometheus/client_golang/prometheus"
)

// keyringCollector tells about the cache of unwrapped keys, once there is one.
type keyringCollector struct{ s *Server }

var (
	keyUses    = prometheus.NewDesc("efs_keyring_uses_total", "Uses of keys, by whether the key was unwrapped already (hit) or a KMS had to be waited for (miss).", []string{"result"}, nil)
	keyUnwraps = prometheus.NewDesc("efs_keyring_unwraps_total", "Keys that were to be unwrapped by a KMS, by outcome: ok or failed.", []string{"outcome"}, nil)
)

// Describe sends nothing: a sealed server has no keyring.
func (keyringCollector) Describe(chan<- *prometheus.Desc) {}

// Collect asks the keyring.
func (c keyringCollector) Collect(out chan<- prometheus.Metric) {
	st, ok := c.s.node.KeyringStats()
	if !ok {
		return
	}
	count := func(d *prometheus.Desc, n uint64, label string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), label)
	}
	count(keyUses, st.Hits, "hit")
	count(keyUses, st.Misses, "miss")
	count(keyUnwraps, st.Unwrapped, "ok")
	count(keyUnwraps, st.NotUnwrapped, "failed")
}

var (
	indexBatches = fsDesc("efs_index_commit_transactions", "Transactions that one sync of the index made durable.")

	releaseWaiting = fsDesc("efs_release_queue_contents", "Contents that wait to be deleted, since no file has them any more. No more than 10,000 are counted.")
	releaseRemoved = fsDesc("efs_contents_removed_total", "Contents deleted from the release queue.")

	uploadsOpen = fsDesc("efs_uploads_open", "Uploads in parts that are neither completed nor aborted and have not expired.")

	cipherSeals  = cipherDesc("efs_content_seals_total", "Contents sealed, by algorithm; those of several stages count for each.")
	cipherSealed = cipherDesc("efs_content_sealed_bytes_total", "Bytes of contents sealed, by algorithm.")
	cipherOpens  = cipherDesc("efs_content_opens_total", "Contents opened, by algorithm, but for those that the cache of decrypted files had.")
	cipherOpened = cipherDesc("efs_content_opened_bytes_total", "Bytes of contents opened, by algorithm.")
)

// releasesCounted is how much of a release queue is counted: a longer one is
// long, and counting takes time.
const releasesCounted = 10_000

func cipherDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"fs", "algorithm"}, nil)
}

// collectBatches tells how many transactions shared a sync.
func collectBatches(f *node.FileSystem, st *efs.IndexStats, out chan<- prometheus.Metric) {
	buckets := map[float64]uint64{}
	n, last := uint64(0), len(st.Batches)-1
	for i, c := range st.Batches {
		if n += c; i < last { // the last has no bound
			buckets[float64(uint64(1)<<i)] = n
		}
	}
	out <- prometheus.MustNewConstHistogram(indexBatches, n, float64(st.Transactions), buckets, f.Name())
}

// collectContents tells what was done with contents.
func collectContents(ctx context.Context, f *node.FileSystem, out chan<- prometheus.Metric) {
	if waiting, removed, err := f.Releases(ctx, releasesCounted); err == nil {
		out <- prometheus.MustNewConstMetric(releaseWaiting, prometheus.GaugeValue, float64(waiting), f.Name())
		out <- prometheus.MustNewConstMetric(releaseRemoved, prometheus.CounterValue, float64(removed), f.Name())
	}
	out <- prometheus.MustNewConstMetric(uploadsOpen, prometheus.GaugeValue, float64(f.Uploads()), f.Name())
	ciphers, err := f.Ciphers(ctx)
	if err != nil {
		return // its keys are away: the next time will do
	}
	for _, c := range ciphers {
		for d, n := range map[*prometheus.Desc]uint64{cipherSeals: c.Seals, cipherSealed: c.SealedBytes, cipherOpens: c.Opens, cipherOpened: c.OpenedBytes} {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), f.Name(), c.Algorithm)
		}
	}
}
