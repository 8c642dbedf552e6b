// Package fuzz holds the fuzz targets that have a whole client answered with nonsense.
package fuzz
