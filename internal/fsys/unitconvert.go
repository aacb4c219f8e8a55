package fsys

func convertedKey() []byte { return []byte{metaConverted} }

const metaConverted = 'c' // the pattern of erasure units that holds for all that is there
