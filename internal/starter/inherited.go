package starter

import (
	"sync"

	"github.com/efs-project/efs/internal/secret"
)

// inherited holds the key that came through the environment until Find takes
// it.
var inherited struct {
	mu  sync.Mutex
	key *secret.Key
}

func keepInherited(k *secret.Key) {
	inherited.mu.Lock()
	defer inherited.mu.Unlock()
	if inherited.key != nil {
		inherited.key.Destroy()
	}
	inherited.key = k
}

func takeInherited() *secret.Key {
	inherited.mu.Lock()
	defer inherited.mu.Unlock()
	k := inherited.key
	inherited.key = nil
	return k
}
