// Package lake writes the readings of an hour as a Parquet file that any tool
// reads: DuckDB, pandas, Spark.
//
// A part stands under its final name only when it is whole: it is written
// beside it, synced, read back row by row and compared, and then renamed. What
// a crash leaves behind ends in ".tmp" and is removed by [Clean].
//
// It decides neither what is written nor when; package data does, and keeps the
// record of which parts there are.
//
// Next on the path: whoever reads the lake.
package lake
