package store

// Usage is what a store takes of its disk, and has written to it.
type Usage struct {
	Bytes uint64 // of the disk, now: log, tables, and what is being rewritten
	Log   uint64 // of these, the write-ahead log
	Free  uint64 // what the file system has left for us; 0 if it does not tell

	// Since Open: bytes of records and pages that the store was given, and bytes that it wrote for them, in the log, in flushes
	// and in compactions. Their ratio is the write amplification.
	Given, Written uint64
}

// Usage measures the store, on any goroutine. The zero value is a closed store's.
func (s *Store) Usage() Usage {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return Usage{}
	}
	m := s.db.Metrics()
	tables := m.Total()
	u := Usage{
		Bytes: m.DiskSpaceUsage(),
		Log:   m.WAL.PhysicalSize + m.WAL.ObsoletePhysicalSize,
		Given: m.WAL.BytesIn + tables.TableBytesIngested,
		Written: m.WAL.BytesWritten + tables.TableBytesIngested + tables.TableBytesFlushed + tables.TableBytesCompacted +
			tables.BlobBytesFlushed + tables.BlobBytesCompacted,
	}
	if disk, err := s.fs.GetDiskUsage(s.dir); err == nil { // not every file system knows
		u.Free = disk.AvailBytes
	}
	return u
}
