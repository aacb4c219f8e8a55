package node

import "github.com/efs-project/efs/internal/contentcache"

// CacheStats tells what the cache of decrypted files did and holds.
type CacheStats = contentcache.Stats

// CacheCleared tells what ClearCache did.
type CacheCleared struct {
	Files   int `json:"files"`   // dropped
	Reading int `json:"reading"` // of them still being read: overwritten when their readers are done
}

// ClearCache drops and overwrites every decrypted file that is kept. Without a
// cache there is none.
func (n *Node) ClearCache() (c CacheCleared) {
	if n.cfg.Cache != nil {
		c.Files, c.Reading = n.cfg.Cache.Clear()
		n.log.Info("cache of decrypted files cleared", "files", c.Files, "reading", c.Reading)
	}
	return c
}

// CacheStats returns nil without a cache.
func (n *Node) CacheStats() *CacheStats {
	if n.cfg.Cache == nil {
		return nil
	}
	s := n.cfg.Cache.Stats()
	return &s
}
