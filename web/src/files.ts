/** Files that were dropped or chosen, those of folders included. */

import { ENDINGS } from './segment';

/** All files of a drop, at any depth. */
export async function dropped(data: DataTransfer): Promise<File[]> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  return (await Promise.all(entries.map(filesOf))).flat();
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

export const visible = (file: File): boolean => !file.name.startsWith('.');
export const isVolume = (file: File): boolean => ENDINGS.test(file.name) && visible(file);
