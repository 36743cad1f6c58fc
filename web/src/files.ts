/** Files that were dropped or chosen, those of folders included. */

import { unzipSync } from 'fflate';
import { ENDINGS } from './segment';

/** All files of a drop, at any depth. */
export async function dropped(data: DataTransfer): Promise<File[]> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const files = [...data.files]; // both are gone after the first await
  return entries.length ? (await Promise.all(entries.map(filesOf))).flat() : files;
}

async function filesOf(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) return [await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: FileSystemEntry[] = [];
  for (;;) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) break; // browsers give a hundred at a time
    found.push(...part);
  }
  return (await Promise.all(found.map(filesOf))).flat();
}

/** The files themselves, those of zip archives in their place. */
export async function unpacked(files: File[]): Promise<File[]> {
  const parts = await Promise.all(files.map((file) => (/\.zip$/i.test(file.name) ? unzipped(file) : [file])));
  return parts.flat();
}

async function unzipped(file: File): Promise<File[]> {
  try {
    const inside = unzipSync(new Uint8Array(await file.arrayBuffer())) as Record<string, Uint8Array<ArrayBuffer>>;
    const entries = Object.entries(inside).filter(([path]) => !path.endsWith('/'));
    return entries.map(([path, content]) => new File([content], path.replace(/^.*\//, '')));
  } catch (error) {
    throw new Error(`${file.name}: cannot be read as a zip archive (${(error as Error).message})`);
  }
}

export const visible = (file: File): boolean => !file.name.startsWith('.');
export const isVolume = (file: File): boolean => ENDINGS.test(file.name) && visible(file);
