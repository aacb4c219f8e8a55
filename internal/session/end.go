package session

import "slices"

// End ends a session at once: its tokens and its Basic secret are dead when
// End returns. Ending twice is no error.
func (m *Manager) End(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(s)
}

// EndUser ends every session of a user and returns how many there were.
func (m *Manager) EndUser(fs, user string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.endAll(m.byUser[subject(user, fs)])
}

// EndFS ends every session of a file system's users.
func (m *Manager) EndFS(fs string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var of []*Session
	for _, s := range m.sessions {
		if s.FS == fs {
			of = append(of, s)
		}
	}
	return m.endAll(of)
}

func (m *Manager) endAll(list []*Session) int {
	list = slices.Clone(list)
	for _, s := range list {
		m.end(s)
	}
	return len(list)
}

// end forgets s. Called with m.mu held.
func (m *Manager) end(s *Session) {
	if s.ended {
		return
	}
	s.ended = true
	close(s.done)
	delete(m.sessions, s.ID)
	for _, h := range s.seen {
		delete(m.tokens, h)
	}
	s.seen = nil
	owner := subject(s.User, s.FS)
	rest := slices.DeleteFunc(m.byUser[owner], func(o *Session) bool { return o == s })
	if len(rest) == 0 {
		delete(m.byUser, owner)
	} else {
		m.byUser[owner] = rest
	}
}
