package archive

import (
	"fmt"
	"io"
)

// DamagedSuffix ends the names under which members come out of which parts are
// lost, so that none is taken for the whole.
const DamagedSuffix = ".efs-damaged"

// OutName is the name under which a member comes out of an archive.
func (m *Member) OutName() string {
	if len(m.Lost) > 0 {
		return m.Name + DamagedSuffix
	}
	return m.Name
}

// WriteTar writes all that is left of r to w, as a tar that any program reads.
// Members of which parts are lost have names that end in DamagedSuffix, and
// zeros in place of what is lost; they have no digest. Losses of r tells of them.
func WriteTar(w io.Writer, r *Reader) error {
	out, err := NewWriter(w, r.Info())
	if err != nil {
		return err
	}
	for {
		m, err := r.Next()
		if err == io.EOF {
			return out.Close()
		}
		if err != nil {
			return err
		}
		if len(m.Lost) > 0 {
			m.Name, m.SHA256 = m.OutName(), ""
		}
		if err := out.Member(m); err != nil {
			return err
		}
		if _, err := io.Copy(out, r); err != nil {
			return fmt.Errorf("copying %q: %w", m.Name, err)
		}
	}
}
